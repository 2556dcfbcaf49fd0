"""Tally responses. Signature: `Tally-Signature` = base64 HMAC-SHA256 over the raw body (the header is Tally's, the
encoding is from secondary sources). Tally's own example signs the body that it has read and written again: the bytes on
the wire are the same ones.

Choices arrive as ids, whose texts stand beside them in `options`; RATING and LINEAR_SCALE as a bare number, whose scale
the settings name. Fields are from secondary sources; what other types of question send is unverified.
"""

from typing import Any, ClassVar

from services.ingest.decoding import invalid
from services.ingest.sources.base import (
    Connector,
    Parsed,
    json_object,
    need_id,
    need_list,
    need_object,
    objects,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from services.ingest.sources.survey import Kind, Question, Response, SurveySettings
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_KINDS: dict[str, Kind] = {
    "RATING": "scaled",
    "LINEAR_SCALE": "scaled",
    "INPUT_TEXT": "text",
    "TEXTAREA": "text",
    "INPUT_EMAIL": "email",
    "INPUT_PHONE_NUMBER": "phone",
}
_HIDDEN = {"HIDDEN_FIELDS", "CALCULATED_FIELDS"}


class Tally(Connector):
    """`fields` name questions by key or label, `hidden` hidden and calculated fields by label."""

    name: ClassVar[str] = "tally"
    settings: ClassVar[type[SurveySettings]] = SurveySettings
    proof: ClassVar[Credential] = Scheme(header="Tally-Signature", encoding="base64")

    def parse(self, settings: SurveySettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        kind = body.get("eventType")
        if not isinstance(kind, str):
            raise invalid([Fault("eventType", "is missing: this is no Tally event")])
        if kind != "FORM_RESPONSE":
            return skipped("other event")
        data = need_object(body.get("data"), "data")
        fields = need_list(data.get("fields"), "data.fields")
        response = Response(settings)
        response.hidden(
            {word(one.get("label")): one.get("value") for one in objects(fields) if word(one.get("type")) in _HIDDEN}
        )
        for index, field in enumerate(fields):
            where = f"data.fields[{index}]"
            _take(response, need_object(field, where), where)
        given = {
            "id": need_id(data.get("responseId") or data.get("submissionId"), "data.responseId"),
            "occurred_at": data.get("createdAt") or body.get("createdAt"),
        }
        return Parsed(items=[response.item(data.get("formId"), "data.fields", **given)])


def _take(response: Response, field: dict[str, Any], where: str) -> None:
    kind, value, label = word(field.get("type")), field.get("value"), word(field.get("label"))
    # Beside the list of what was ticked, each box of CHECKBOXES comes again as a field that says yes or no.
    if kind in _HIDDEN or isinstance(value, bool):
        return
    question = Question((word(field.get("key")), label), label, _KINDS.get(kind, "other"), where)
    response.answer(question, _chosen(field.get("options"), value))


def _chosen(options: Any, value: Any) -> Any:
    texts = {word(option.get("id")): option.get("text") for option in objects(options)}
    if isinstance(value, list):
        return [texts.get(word(one), one) for one in value]
    return texts.get(word(value), value)
