"""Formbricks responses. Signature: Standard Webhooks, with the secret that Formbricks makes together with the webhook.

One failing webhook makes Formbricks run its whole job again, so deliveries repeat: the response and its `updatedAt`
are id and revision. The body has neither titles nor types nor scales of questions: a number needs its scale in the
settings, and the words that Formbricks itself puts for a button are known by their spelling. Releases from before the
signature send the same body unsigned: they are refused. Its documentation shows the body within an array, its code
sends it alone: either is read.

Unverified: the names of contact attributes, the language code `default`, `dismissed` for a button.
"""

import re
from typing import Any, ClassVar

from services.ingest.decoding import decode_json, invalid
from services.ingest.sources import texts
from services.ingest.sources.base import Answer, Connector, Parsed, need_id, need_object, object_of, skipped, word
from services.ingest.sources.mapping import put
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Kind, Question, Response, SurveySettings
from shared.auth.signatures import STANDARD_WEBHOOKS, Signed
from shared.core.errors import Fault

_RESPONSES = {"responseCreated", "responseUpdated", "responseFinished"}
_BUTTONS = {"clicked", "accepted", "dismissed"}
_SHOWABLE = re.compile(r"[\w-]{1,80}")


class Formbricks(Connector):
    """`fields` name questions by id, `hidden` hidden fields, variables and contact attributes."""

    name: ClassVar[str] = "formbricks"
    settings: ClassVar[type[SurveySettings]] = SurveySettings
    proof: ClassVar[Credential] = STANDARD_WEBHOOKS

    def parse(self, settings: SurveySettings, message: Signed) -> Parsed:
        """See Connector."""
        body = decode_json(message.body)
        body = need_object(body[0] if isinstance(body, list) and len(body) == 1 else body, "$")
        event = body.get("event")
        if event == "testEndpoint":
            return Parsed(answer=Answer())
        if not isinstance(event, str):
            raise invalid([Fault("event", "is missing: this is no Formbricks event")])
        if event not in _RESPONSES:
            return skipped("other event")
        data = need_object(body.get("data"), "data")
        # A response that is changed once it is finished comes as `responseUpdated`: that is a revision, no partial one.
        if event != "responseFinished" and data.get("finished") is not True:
            return skipped("partial response")
        return Parsed(items=[_item(settings, data)])


def _item(settings: SurveySettings, data: dict[str, Any]) -> dict[str, Any]:
    response = Response(settings)
    _add_contact(response.fields, data)
    answers = need_object(data.get("data"), "data.data")
    response.hidden({**object_of(data.get("contactAttributes")), **object_of(data.get("variables")), **answers})
    for key, value in answers.items():
        if key not in settings.hidden:
            where = f"data.data.{key}" if _SHOWABLE.fullmatch(key) else "data.data"
            response.answer(Question((key,), kind=_kind(value), where=where), value)
    if language := texts.language(data.get("language")):
        response.fields.setdefault("language", language)
    return response.item(
        data.get("surveyId"),
        "data.data",
        id=need_id(data.get("id"), "data.id"),
        revision=millis_of(data.get("updatedAt")),
        occurred_at=data.get("createdAt"),
    )


def _kind(value: Any) -> Kind:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "scaled"
    return "text" if isinstance(value, str) and value not in _BUTTONS else "other"


def _add_contact(fields: dict[str, Any], data: dict[str, Any]) -> None:
    attributes = object_of(data.get("contactAttributes"))
    given = {
        "id": object_of(data.get("contact")).get("userId") or attributes.get("userId"),
        "email": attributes.get("email"),
        "name": " ".join(filter(None, (word(attributes.get(name)) for name in ("firstName", "lastName")))),
    }
    for name, value in given.items():
        put(fields, ("customer", name), value)
