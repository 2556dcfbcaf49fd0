"""Typeform responses. Signature: `Typeform-Signature: sha256=` + base64 HMAC-SHA256 over the raw body.

rating, opinion_scale and nps all arrive as a bare number without their maximum, so the scale of a question is set in
the source's settings; only `nps` is known to be 0–10. Header and encoding are from secondary sources.
"""

from collections import Counter
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from services.ingest.decoding import decode_json, invalid
from services.ingest.sources.base import Answered, Credential, Parsed, SourceSettings, need_object, place
from services.ingest.sources.targets import Target
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_SCALED = {"rating", "opinion_scale"}
_CONTACT = {"email": ("customer", "email"), "phone_number": ("customer", "phone")}


class To(BaseModel):
    """An answer that becomes a field of the feedback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: Target


class Ignored(BaseModel):
    """An answer that is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ignore: Annotated[bool, Field(description="true")]


class TypeformSettings(SourceSettings):
    """`fields` and `hidden` name questions by id or ref, and hidden fields by name."""

    fields: dict[str, Answered | To | Ignored] = Field(
        default_factory=dict,
        description='Per question: {"metric": "csat", "scale_min": 1, "scale_max": 5}, {"to": "product"} '
        'or {"ignore": true}.',
    )
    hidden: dict[str, Target] = Field(
        default_factory=dict, description='Hidden field → field of the feedback: {"order_customer": "customer.id"}.'
    )


class Typeform:
    """See Connector."""

    name: ClassVar[str] = "typeform"
    settings: ClassVar[type[SourceSettings]] = TypeformSettings

    def credential(self, settings: TypeformSettings) -> Credential:
        """See Connector."""
        return Scheme(header="Typeform-Signature", encoding="base64", prefix="sha256=")

    def parse(self, settings: TypeformSettings, message: Signed) -> Parsed:
        """See Connector. A rating whose scale nobody has set makes the delivery a dead letter: set it, then replay."""
        body = need_object(decode_json(message.body), "$")
        kind = body.get("event_type")
        if kind != "form_response":
            if isinstance(kind, str) and kind.startswith("form_response"):
                return Parsed(skipped=Counter({"partial response": 1}))
            raise invalid([Fault("event_type", "is not form_response: this is no Typeform response")])
        return Parsed(items=[_Response(settings, body).item()])


class _Response:
    def __init__(self, settings: TypeformSettings, body: dict[str, Any]) -> None:
        self._settings = settings
        self._response = need_object(body.get("form_response"), "form_response")
        definition = self._response.get("definition")
        self._questions = _by_id(definition.get("fields") if isinstance(definition, dict) else None)
        self._item: dict[str, Any] = settings.constants()
        self._ratings: list[dict[str, Any]] = []
        self._texts: list[tuple[str, str]] = []
        self._id = self._response.get("token") or body.get("event_id")

    def item(self) -> dict[str, Any]:
        if not isinstance(self._id, str):
            raise invalid([Fault("form_response.token", "is missing: the response has no id")])
        hidden = self._response.get("hidden")
        for name, target in self._settings.hidden.items():
            self._put(target, hidden.get(name) if isinstance(hidden, dict) else None)
        answers = self._response.get("answers")
        for index, answer in enumerate(answers if isinstance(answers, list) else []):
            self._answer(need_object(answer, f"form_response.answers[{index}]"), index)
        self._item |= {"id": self._id, "occurred_at": self._response.get("submitted_at"), "survey": self._survey()}
        self._item.setdefault("channel", "web")
        if self._ratings:
            self._item["ratings"] = self._ratings
        if self._texts and "text" not in self._item:
            self._item["text"] = _joined(self._texts)
        if not self._ratings and not self._item.get("text") and not self._item.get("title"):
            raise invalid([Fault("form_response.answers", "has no rating and no text; map its questions in `fields`")])
        return self._item

    def _answer(self, answer: dict[str, Any], index: int) -> None:
        field = answer.get("field")
        question = field if isinstance(field, dict) else {}
        question = {**self._questions.get(str(question.get("id")), {}), **question}
        fields = self._settings.fields
        rule = fields.get(str(question.get("id"))) or fields.get(str(question.get("ref")))
        value, kind = _value(answer), question.get("type")
        if isinstance(rule, Ignored):
            return
        if isinstance(rule, To):
            self._put(rule.to, value)
        elif isinstance(rule, Answered):
            self._ratings.append(rule.rating(value))
        elif kind == "nps":
            self._ratings.append({"metric": "nps", "value": value})
        elif kind in _SCALED:
            where = f"form_response.answers[{index}]"
            reason = f"a {kind} without a scale: set it for this question in the source's `fields`, then replay"
            raise invalid([Fault(where, reason)])
        elif answer.get("type") in _CONTACT:
            self._put(_CONTACT[answer["type"]], value)
        elif answer.get("type") == "text" and isinstance(value, str) and value.strip():
            self._texts.append((str(question.get("title") or ""), value.strip()))

    def _put(self, target: tuple[str | int, ...], value: Any) -> None:
        if value is not None and value != "":
            text = value if isinstance(value, str | bool) else str(value)
            try:
                place(self._item, target, text)
            except ValueError as error:
                raise invalid([Fault("settings", str(error))]) from None

    def _survey(self) -> dict[str, Any]:
        form = self._response.get("form_id")
        settings = self._settings
        survey = {
            "id": settings.survey_id or (str(form)[:80] if form else None),
            "type": settings.survey_type or "transactional",
            "wave": settings.wave,
        }
        given = self._item.get("survey")
        return survey | given if isinstance(given, dict) else survey


def _by_id(fields: Any) -> dict[str, dict[str, Any]]:
    listed = fields if isinstance(fields, list) else []
    return {str(field.get("id")): field for field in listed if isinstance(field, dict)}


def _value(answer: dict[str, Any]) -> Any:
    value = answer.get(str(answer.get("type")))
    if isinstance(value, dict):
        if isinstance(value.get("labels"), list):
            return ", ".join(str(label) for label in value["labels"])
        return value.get("label") or value.get("other")
    return value


def _joined(texts: list[tuple[str, str]]) -> str:
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"{title}\n{text}" if title else text for title, text in texts)
