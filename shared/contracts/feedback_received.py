"""`feedback.received.v1`: one thing a customer said, verified and normalised, whatever channel it came by."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part, Text
from shared.contracts.topics import FEEDBACK_RECEIVED, Topic

Band = Literal["promoter", "passive", "detractor"]
SurveyType = Literal["relational", "transactional"]
Metric = Literal["nps", "csat", "ces", "rating"]
Formula = Literal["nps", "top_two", "mean"]
Revision = Annotated[int, Field(ge=0, le=2**62)]

# Metric → its scale and formula where the source names none (domain.md). `rating` has neither: its source must say.
DEFAULT_SCALES: dict[str, tuple[float, float]] = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
DEFAULT_FORMULAS: dict[str, Formula] = {"nps": "nps", "csat": "top_two", "ces": "mean", "rating": "mean"}


class Rating(Part):
    """One number a customer gave. The formula is fixed per survey and named here, because vendors differ."""

    metric: Metric
    value: float
    scale_min: float
    scale_max: float
    formula: Formula

    @model_validator(mode="after")
    def _on_scale(self) -> Self:
        if not self.scale_min < self.scale_max:
            raise ValueError("scale_min must be below scale_max")
        if not self.scale_min <= self.value <= self.scale_max:
            raise ValueError(f"value {self.value:g} is outside its scale {self.scale_min:g}–{self.scale_max:g}")
        if self.metric == "nps" and (self.scale_min, self.scale_max) != (0, 10):
            raise ValueError("nps is asked on 0–10")
        if self.metric == "nps" and not self.value.is_integer():
            raise ValueError("an nps answer is a whole number")
        return self


class Survey(Part):
    """The survey an answer belongs to. Relational and transactional answers are never mixed in one series."""

    id: Label
    type: SurveyType
    wave: Label | None = None


class SensitiveFeedback(Part):
    """All that identifies a person, and what they wrote. Never in keys, headers, logs, metrics or URLs."""

    identity: Text | None = Field(
        default=None, description="What the source calls this customer: an e-mail, a handle, an account number."
    )
    name: Text | None = None
    email: Text | None = None
    phone: Text | None = None
    handle: Text | None = None
    title: Text | None = None
    text: Text | None = None
    url: Text | None = Field(default=None, description="Where the feedback can be read.")


class FeedbackReceivedV1(EventData):
    """A survey response or a message; a later `revision` of the same `feedback_id` replaces it,
    `removed` takes it back."""

    event_type: ClassVar[str] = "dev.closeloop.feedback.received.v1"
    topic: ClassVar[Topic] = FEEDBACK_RECEIVED

    feedback_id: UUID
    revision: Revision = 0
    removed: bool = False
    kind: Literal["survey_response", "message"]
    occurred_at: AwareDatetime
    received_at: AwareDatetime
    source: Label = Field(description="Name of the source it came by; `api` and `import` for our own endpoints.")
    connector: Label
    channel: Label
    touchpoint: Label | None = None
    department: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    survey: Survey | None = None
    ratings: tuple[Rating, ...] = Field(default=(), max_length=16)
    customer_id: UUID | None = Field(
        default=None, description="Pseudonym: the same person in a workspace has the same id."
    )
    public: bool = Field(default=False, description="Others can read it: a post, a public review.")
    thread_id: Label | None = Field(default=None, description="Conversation it belongs to, in the source's words.")
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = Field(
        default=None, description="ISO 639-1, where the source says so."
    )
    sensitive: SensitiveFeedback = SensitiveFeedback()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "survey_response" and self.survey is None:
            raise ValueError("a survey_response names its survey")
        if len({rating.metric for rating in self.ratings}) != len(self.ratings):
            raise ValueError("one rating per metric")
        return self

    @override
    def key(self) -> str:
        """The customer where known, else the feedback."""
        return str(self.customer_id or self.feedback_id)

    def rating(self, metric: str) -> Rating | None:
        """The rating of `metric`, if it was given."""
        return next((rating for rating in self.ratings if rating.metric == metric), None)

    def band(self) -> Band | None:
        """Promoter 9–10, passive 7–8, detractor 0–6; None without an NPS answer."""
        rating = self.rating("nps")
        return None if rating is None else band_of(rating.value)


def band_of(value: float) -> Band:
    """Band of an NPS answer on 0–10."""
    return "promoter" if value >= 9 else "passive" if value >= 7 else "detractor"
