"""Typeform responses. Signature: `Typeform-Signature: sha256=` + base64 HMAC-SHA256 over the raw body.

rating, opinion_scale and nps all arrive as a bare number without their maximum, so the scale of a question is set in
the source's settings; only `nps` is known to be 0–10. Header and encoding are from secondary sources.
"""

from typing import Any, ClassVar

from services.ingest.decoding import invalid
from services.ingest.sources.base import Connector, Parsed, SourceSettings, json_object, need_object, object_of, skipped
from services.ingest.sources.proof import Credential
from services.ingest.sources.survey import Kind, Question, Response, SurveySettings
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_KINDS: dict[str, Kind] = {"nps": "nps", "rating": "scaled", "opinion_scale": "scaled"}
_ANSWER_KINDS: dict[str, Kind] = {"text": "text", "email": "email", "phone_number": "phone"}


class Typeform(Connector):
    """`fields` name questions by id or ref, `hidden` hidden fields by name."""

    name: ClassVar[str] = "typeform"
    settings: ClassVar[type[SourceSettings]] = SurveySettings
    proof: ClassVar[Credential] = Scheme(header="Typeform-Signature", encoding="base64", prefix="sha256=")

    def parse(self, settings: SurveySettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        kind = body.get("event_type")
        if kind != "form_response":
            if isinstance(kind, str) and kind.startswith("form_response"):
                return skipped("partial response")
            raise invalid([Fault("event_type", "is not form_response: this is no Typeform response")])
        given = need_object(body.get("form_response"), "form_response")
        identity = given.get("token") or body.get("event_id")
        if not isinstance(identity, str):
            raise invalid([Fault("form_response.token", "is missing: the response has no id")])
        response = Response(settings)
        response.hidden(given.get("hidden"))
        questions = _by_id(object_of(given.get("definition")).get("fields"))
        answers = given.get("answers")
        for index, one in enumerate(answers if isinstance(answers, list) else []):
            where = f"form_response.answers[{index}]"
            answer = need_object(one, where)
            response.answer(_question(questions, answer, where), _value(answer))
        fixed = {"id": identity, "occurred_at": given.get("submitted_at")}
        return Parsed(items=[response.item(given.get("form_id"), "form_response.answers", **fixed)])


def _question(questions: dict[str, dict[str, Any]], answer: dict[str, Any], where: str) -> Question:
    field = object_of(answer.get("field"))
    field = {**questions.get(str(field.get("id")), {}), **field}
    kind = _KINDS.get(str(field.get("type"))) or _ANSWER_KINDS.get(str(answer.get("type")), "other")
    return Question((str(field.get("id")), str(field.get("ref"))), str(field.get("title") or ""), kind, where)


def _by_id(fields: Any) -> dict[str, dict[str, Any]]:
    listed = fields if isinstance(fields, list) else []
    return {str(field.get("id")): field for field in listed if isinstance(field, dict)}


def _value(answer: dict[str, Any]) -> Any:
    value = answer.get(str(answer.get("type")))
    if isinstance(value, dict):
        return value["labels"] if isinstance(value.get("labels"), list) else value.get("label") or value.get("other")
    return value
