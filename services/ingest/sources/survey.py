"""What connectors of survey tools share: questions by id, and what their answers become.

Most tools send a bare number without the scale that it was asked on. So the scale of a question is set in the source's
settings, and an answer without one makes the delivery a dead letter: set it, then replay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.ingest.decoding import invalid
from services.ingest.sources.base import SourceSettings
from services.ingest.sources.mapping import put
from services.ingest.sources.targets import Steps, Target
from shared.contracts.feedback_received import Formula, Metric
from shared.core.errors import Fault

Kind = Literal["nps", "scaled", "text", "email", "phone", "name", "other"]
_CONTACT: dict[Kind, Steps] = {
    "email": ("customer", "email"),
    "phone": ("customer", "phone"),
    "name": ("customer", "name"),
}


class Answered(BaseModel):
    """How one question of a vendor becomes a rating."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric
    scale_min: float | None = None
    scale_max: float | None = None
    formula: Formula | None = None

    def rating(self, value: Any) -> dict[str, Any]:
        """A rating in the form of FeedbackIn."""
        return {"value": value, **self.model_dump(exclude_none=True)}


class To(BaseModel):
    """An answer that becomes a field of the feedback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: Target


class Ignored(BaseModel):
    """An answer that is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ignore: Annotated[bool, Field(description="true")]


class SurveySettings(SourceSettings):
    """`fields` name questions as the vendor does, `hidden` what it sends beside the answers."""

    fields: dict[str, Answered | To | Ignored] = Field(
        default_factory=dict,
        description='Per question: {"metric": "csat", "scale_min": 1, "scale_max": 5}, {"to": "product"} '
        'or {"ignore": true}.',
    )
    hidden: dict[str, Target] = Field(
        default_factory=dict, description='Hidden field → field of the feedback: {"order_customer": "customer.id"}.'
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A question: `keys` are the names by which settings may mean it, `where` is its place in the body."""

    keys: tuple[str, ...]
    title: str = ""
    kind: Kind = "text"
    where: str = "$"


class Response:
    """One response in the making."""

    def __init__(self, settings: SurveySettings) -> None:
        self._settings = settings
        self.fields: dict[str, Any] = settings.constants()
        self._ratings: list[dict[str, Any]] = []
        self._texts: list[tuple[str, str]] = []

    def hidden(self, values: Any) -> None:
        """Take what the settings map of hidden fields."""
        for name, steps in self._settings.hidden.items():
            put(self.fields, steps, values.get(name) if isinstance(values, Mapping) else None)

    def answer(self, question: Question, value: Any) -> None:
        """Take one answer. Raises InvalidInput for a number on a scale that nobody has set."""
        if value is None or value == "" or value == []:
            return
        rule = next((self._settings.fields[key] for key in question.keys if key in self._settings.fields), None)
        if isinstance(rule, Ignored):
            return
        if isinstance(rule, To):
            put(self.fields, rule.to, spoken(value))
        elif isinstance(rule, Answered):
            self._ratings.append(rule.rating(value))
        elif question.kind == "nps":
            self._ratings.append({"metric": "nps", "value": value})
        elif question.kind == "scaled":
            reason = "is a number without a scale: set it for this question in the source's `fields`, then replay"
            raise invalid([Fault(question.where, reason)])
        elif question.kind in _CONTACT:
            put(self.fields, _CONTACT[question.kind], spoken(value))
        elif question.kind == "text" and (text := spoken(value).strip()):
            self._texts.append((question.title, text))

    def rate(self, metric: Metric, value: Any, low: float, high: float) -> None:
        """Take a rating whose scale is known."""
        self._ratings.append({"metric": metric, "value": value, "scale_min": low, "scale_max": high})

    def item(self, form: object, where: str, **given: Any) -> dict[str, Any]:
        """The whole, in the form of FeedbackIn. Raises InvalidInput where nothing was said."""
        item = self.fields
        item.setdefault("channel", "web")
        survey = self._settings.survey(form)
        mine = item.get("survey")
        item["survey"] = survey | mine if isinstance(mine, dict) else survey
        item |= {name: value for name, value in given.items() if value is not None}
        if self._ratings:
            item["ratings"] = self._ratings
        if self._texts and "text" not in item:
            item["text"] = _joined(self._texts)
        if not self._ratings and not item.get("text") and not item.get("title"):
            raise invalid([Fault(where, "has no rating and no text; map its questions in `fields`")])
        return item


def spoken(value: Any) -> str:
    """An answer as text; several choices with commas."""
    if isinstance(value, list):
        return ", ".join(spoken(one) for one in value)
    if isinstance(value, Mapping):
        return " ".join(spoken(one) for one in value.values() if one not in (None, ""))
    return str(value)


def _joined(texts: list[tuple[str, str]]) -> str:
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"{title}\n{text}" if title else text for title, text in texts)
