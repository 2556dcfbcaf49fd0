"""Jotform submissions. Jotform signs nothing: the address alone, which nobody can guess, proves where they come from.

A submission is a form (multipart, as captured, or urlencoded) whose field `rawRequest` is JSON: `q<number>_<name>`
→ answer. It has neither titles nor types nor a time, and every answer is text: a short number needs a scale from the
settings, a bare e-mail address is the customer's. `pretty` has titles, but cannot be taken apart again.
A relay may send the same as JSON, or `rawRequest` alone, which has no id: there its content is the id.

Unverified: urlencoded bodies, what an edited submission sends, the parts of a phone number.
"""

import re
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from python_multipart.multipart import Field, FormParser, parse_options_header

from services.ingest.decoding import decode_json, invalid, text_of
from services.ingest.sources.base import Connector, Parsed, json_object, need_id, need_object, word
from services.ingest.sources.proof import Address, Credential
from services.ingest.sources.survey import Kind, Question, Response, SurveySettings
from shared.auth.signatures import Signed
from shared.core.errors import Fault

_MOST_FIELDS = 200
_ANSWER = re.compile(r"q([0-9]{1,9})_(\w{0,80})")
_NUMBER = re.compile(r"[0-9]{1,3}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PARTS: dict[str, Kind] = {"first": "name", "last": "name", "full": "phone", "phone": "phone"}


class Jotform(Connector):
    """`fields` name questions as `rawRequest` does (`q3_rating`, or `rating`), and so does `hidden`."""

    name: ClassVar[str] = "jotform"
    settings: ClassVar[type[SurveySettings]] = SurveySettings
    proof: ClassVar[Credential] = Address()

    def parse(self, settings: SurveySettings, message: Signed) -> Parsed:
        """See Connector."""
        form = _form(message)
        alone = any(_ANSWER.fullmatch(key) for key in form)
        answers = form if alone else _raw_request(form.get("rawRequest"))
        names = {key: found[2] for key in answers if (found := _ANSWER.fullmatch(key))}
        response = Response(settings)
        response.hidden({**answers, **{name: answers[key] for key, name in names.items()}})
        for key, name in names.items():
            if not {key, name} & settings.hidden.keys():
                question = Question((key, name), kind=_kind(answers[key]), where=f"rawRequest.{key}")
                response.answer(question, answers[key])
        survey = form.get("formID") or word(answers.get("slug")).removeprefix("submit/")
        item = response.item(survey, "rawRequest")
        if not alone or "submissionID" in form:
            item["id"] = need_id(form.get("submissionID"), "submissionID")
        return Parsed(items=[item])


def _raw_request(value: Any) -> dict[str, Any]:
    return need_object(decode_json(value.encode()) if isinstance(value, str) else value, "rawRequest")


def _form(message: Signed) -> dict[str, Any]:
    given = message.headers.get("content-type", "").lower()
    if given.startswith("multipart/form-data"):
        return _multipart(message)
    if not given.startswith("application/x-www-form-urlencoded"):
        return json_object(message)
    text = text_of(message.body)
    try:
        return dict(parse_qsl(text, True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise invalid([Fault("$", "is no form that can be read")]) from None


def _multipart(message: Signed) -> dict[str, Any]:
    fields: dict[bytes, bytes] = {}
    whole: list[bool] = []

    def take(field: Field) -> None:
        if len(fields) == _MOST_FIELDS:
            raise ValueError("too many fields")
        fields.setdefault(field.field_name or b"", field.value or b"")

    try:
        _, options = parse_options_header(message.headers["content-type"])
        boundary = options.get(b"boundary")
        parser = FormParser("multipart/form-data", take, None, lambda: whole.append(True), boundary=boundary)
        parser.write(message.body)
        parser.finalize()
    except ValueError:
        raise invalid([Fault("$", "is no form that can be read")]) from None
    if not whole:
        raise invalid([Fault("$", "is cut off: the form has no end")])
    return {text_of(name): text_of(value) for name, value in fields.items()}


def _kind(value: Any) -> Kind:
    if isinstance(value, dict):
        return next((_PARTS[part] for part in value if part in _PARTS), "other")
    if isinstance(value, str):
        said = value.strip()
        return "scaled" if _NUMBER.fullmatch(said) else "email" if _ADDRESS.fullmatch(said) else "text"
    return "scaled" if isinstance(value, int | float) and not isinstance(value, bool) else "other"
