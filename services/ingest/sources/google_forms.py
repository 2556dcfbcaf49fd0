"""Google Forms, which have no webhook: a script in the form (docs/connectors/google_forms.md) posts each response,
signed as Standard Webhooks. The body is our own:

    {"form": {"id", "title"},
     "response": {"id", "at", "email", "answers": [{"id", "title", "type", "value", "low"?, "high"?}]},
     "hidden"?: {name: value}}

The script says the bounds of a scale. So the settings need to say only what it measures; one that they leave out is a
`rating` on its own scale, and never NPS, even where it is 0–10: only the operator knows what was asked.

Unverified: that an edited response has a later time, which is its revision.
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
    object_of,
    word,
)
from services.ingest.sources.mapping import put
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.survey import Answered, Kind, Question, Response, SurveySettings
from shared.auth.signatures import STANDARD_WEBHOOKS, Signed
from shared.core.errors import Fault

_KINDS: dict[str, Kind] = {"TEXT": "text", "PARAGRAPH_TEXT": "text", "SCALE": "scaled", "RATING": "scaled"}


class GoogleForms(Connector):
    """`fields` name questions by id or title, `hidden` what the script adds."""

    name: ClassVar[str] = "google_forms"
    settings: ClassVar[type[SurveySettings]] = SurveySettings
    proof: ClassVar[Credential] = STANDARD_WEBHOOKS

    def parse(self, settings: SurveySettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        form, given = need_object(body.get("form"), "form"), need_object(body.get("response"), "response")
        listed = need_list(given.get("answers"), "response.answers")
        answers = [need_object(answer, f"response.answers[{index}]") for index, answer in enumerate(listed)]
        settings = _with_bounds(settings, answers)
        response = Response(settings)
        put(response.fields, ("customer", "email"), given.get("email"))
        response.hidden(object_of(body.get("hidden")))
        _take(response, settings, answers)
        fixed = {
            "id": need_id(given.get("id"), "response.id"),
            "revision": millis_of(given.get("at")),
            "occurred_at": given.get("at"),
        }
        return Parsed(items=[response.item(form.get("id"), "response.answers", **fixed)])


def _take(response: Response, settings: SurveySettings, answers: list[dict[str, Any]]) -> None:
    rated = False
    for index, answer in enumerate(answers):
        value, bounds, question = answer.get("value"), _bounds(answer), _question(answer, f"response.answers[{index}]")
        named = any(key in settings.fields for key in question.keys)
        if named or bounds is None or question.kind != "scaled":
            response.answer(question, value)
        elif value not in (None, ""):
            if rated:
                reason = "is a second scale that the settings do not name: set it in the source's `fields`, then replay"
                raise invalid([Fault(question.where, reason)])
            response.rate("rating", value, *bounds)
            rated = True


def _question(answer: dict[str, Any], where: str) -> Question:
    title = word(answer.get("title"))
    return Question(_keys(answer), title, _KINDS.get(word(answer.get("type")), "other"), where)


def _keys(answer: dict[str, Any]) -> tuple[str, ...]:
    return str(answer.get("id")), word(answer.get("title"))


def _bounds(answer: dict[str, Any]) -> tuple[float, float] | None:
    low, high = _number(answer.get("low")), _number(answer.get("high"))
    return None if low is None or high is None else (low, high)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _with_bounds(settings: SurveySettings, answers: list[dict[str, Any]]) -> SurveySettings:
    """The settings, with the form's own scales where they name none: nobody needs to write those down twice."""
    fields = dict(settings.fields)
    for answer in answers:
        bounds = _bounds(answer)
        for key in _keys(answer) if bounds else ():
            rule = fields.get(key)
            if bounds and isinstance(rule, Answered) and rule.scale_min is None and rule.scale_max is None:
                fields[key] = rule.model_copy(update={"scale_min": bounds[0], "scale_max": bounds[1]})
    return settings.model_copy(update={"fields": fields})
