"""`FeedbackIn`: the public form of one piece of feedback. Every way in ends here, so that there is one validation."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from services.ingest.decoding import path_of
from services.ingest.examples import RATING_EXAMPLE, SURVEY_EXAMPLE
from shared.contracts.envelope import Label, Text
from shared.contracts.feedback_received import DEFAULT_SCALES, Formula, Metric, Revision, SurveyType
from shared.core.clock import utc_now
from shared.core.errors import Fault

# Feedback from before this, or from tomorrow on, is a clock or a unit gone wrong.
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)
_PHONE = re.compile(r"\+?[0-9 ().\-/]{5,40}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2}")
_MAX_SCALE = 1e6


def _printable(text: str) -> str:
    if not text.translate({0x200C: None, 0x200D: None}).isprintable():
        raise ValueError("must not contain control characters")
    return text


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _empty_is_absent(value: Any) -> Any:
    return None if value == "" else value


def _primary_language(value: Any) -> Any:
    return re.split("[-_]", value.strip(), maxsplit=1)[0].lower() if isinstance(value, str) else value


def _plausible(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= utc_now() + _AHEAD:
        raise ValueError("must be between 1990 and tomorrow; give RFC 3339 with a zone, or Unix seconds")
    return moment


def _dialable(text: str) -> str:
    if not _PHONE.fullmatch(text) or sum(map(str.isdigit, text)) < 5:
        raise ValueError("is not a phone number; write it as +90 532 000 00 00")
    return text


def _address(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError("is not an e-mail address")
    return text


def _web_address(text: str) -> str:
    if not _URL.fullmatch(text):
        raise ValueError("must begin with https:// or http://, without spaces")
    return text


def _two_letters(text: str) -> str:
    if not _LANGUAGE.fullmatch(text):
        raise ValueError("must be a language of ISO 639-1: en, tr, fa, …")
    return text


def _line(limit: int) -> Any:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=limit)


ObjectId = Annotated[str, AfterValidator(_printable), _line(200)]
Name = Annotated[str, AfterValidator(_printable), _line(200)]
Email = Annotated[str, AfterValidator(_printable), _line(254), AfterValidator(_address)]
Phone = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_dialable)]
Url = Annotated[str, AfterValidator(_printable), _line(2048), AfterValidator(_web_address)]
Number = Annotated[float, BeforeValidator(_no_boolean), Field(ge=-_MAX_SCALE, le=_MAX_SCALE)]
Moment = Annotated[AwareDatetime, BeforeValidator(_no_boolean), AfterValidator(_plausible)]
Words = Annotated[Text | None, BeforeValidator(_empty_is_absent)]
Language = Annotated[str, BeforeValidator(_primary_language), AfterValidator(_two_letters)]


class Input(BaseModel):
    """Unknown names are refused: a misspelt field must not get lost in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SurveyIn(Input):
    """The survey an answer belongs to."""

    id: Label = Field(description="Name of the survey.", examples=["post-delivery"])
    type: SurveyType = Field(
        description="relational: about the whole relationship, asked periodically; "
        "transactional: right after one interaction. Never mixed in one score."
    )
    wave: Label | None = Field(default=None, description="The round of a repeated survey.", examples=["2026-Q1"])


class RatingIn(Input):
    """One number a customer gave."""

    metric: Metric
    scale_min: Number | None = Field(default=None, description="Default: nps 0, csat 1, ces 1; `rating` has none.")
    scale_max: Number | None = Field(default=None, description="Default: nps 10, csat 5, ces 7; `rating` has none.")
    formula: Formula | None = Field(default=None, description="Default: nps nps, csat top_two, ces mean, rating mean.")
    value: Number

    @field_validator("value")
    @classmethod
    def _on_its_scale(cls, value: float, info: ValidationInfo) -> float:
        if {"metric", "scale_min", "scale_max"} <= info.data.keys():
            check_scale(info.data["metric"], value, info.data["scale_min"], info.data["scale_max"])
            _check_formula(info.data["metric"], info.data.get("formula"), info.data)
        return value


def check_scale(metric: str, value: float, scale_min: float | None, scale_max: float | None) -> None:
    """Raise ValueError unless `value` fits its scale, given or by default."""
    low, high = DEFAULT_SCALES.get(metric, (None, None))
    low = low if scale_min is None else scale_min
    high = high if scale_max is None else scale_max
    if low is None or high is None:
        raise ValueError(f"a {metric} has no default scale: give scale_min and scale_max in `ratings`")
    if not low < high:
        raise ValueError("its scale is empty: scale_min must be below scale_max")
    if metric == "nps" and (low, high) != (0, 10):
        raise ValueError("nps is asked on 0–10")
    if not low <= value <= high:
        raise ValueError(f"is outside its scale {low:g}–{high:g}")
    if metric == "nps" and not value.is_integer():
        raise ValueError("an nps answer is a whole number")


def _check_formula(metric: str, formula: str | None, scale: Mapping[str, Any]) -> None:
    """The formula nps counts 9 and 10 of 0–10, whatever was asked; on another scale no rule could score it."""
    low, high = DEFAULT_SCALES.get(metric, (None, None))
    given = (
        low if scale["scale_min"] is None else scale["scale_min"],
        high if scale["scale_max"] is None else scale["scale_max"],
    )
    if formula == "nps" and given != (0, 10):
        raise ValueError("the formula nps needs the scale 0–10")


class CustomerIn(Input):
    """Who said it. The first of id, email, phone, handle is the identity; it is stored apart and never logged."""

    id: ObjectId | None = Field(default=None, description="What you call this customer.", examples=["C-20911"])
    email: Email | None = Field(default=None, examples=["nora@example.com"])
    phone: Phone | None = Field(default=None, examples=["+90 532 000 00 00"])
    handle: Name | None = Field(default=None, description="Name on the channel.", examples=["@nora"])
    name: Name | None = Field(default=None, examples=["Nora Whitfield"])

    def identifying(self) -> dict[str, str | None]:
        """What `domain.identity_of` goes by."""
        return {"id": self.id, "email": self.email, "phone": self.phone, "handle": self.handle}


class FeedbackIn(Input):
    """One thing a customer said: an answer to a survey, or a message."""

    model_config = ConfigDict(json_schema_extra={"examples": [SURVEY_EXAMPLE, RATING_EXAMPLE]})

    id: ObjectId | None = Field(
        default=None,
        description="Your id of it: sent again, it is the same feedback. Without it the Idempotency-Key header counts, "
        "and without that the content: the identical object is then the same feedback.",
        examples=["resp-8812"],
    )
    revision: Revision = Field(
        default=0, description="A higher revision of the same id replaces what came before; the same one is a repeat."
    )
    removed: bool = Field(default=False, description="Takes it back; needs an id and a revision above the one before.")
    kind: Literal["survey_response", "message"] | None = Field(
        default=None, description="Default: survey_response with a survey, else message."
    )
    occurred_at: Moment | None = Field(
        default=None, description="When it was said. Default: now.", examples=["2026-03-10T09:14:52Z"]
    )
    channel: Label = Field(default="api", description="How it came: email, web, app, store, forum, …")
    touchpoint: Label | None = Field(default=None, description="post_purchase, delivery, support_call, …")
    department: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    survey: SurveyIn | None = Field(default=None, validate_default=True)
    metric: Metric | None = Field(default=None, description="With `score`: short for one rating on the default scale.")
    score: Number | None = Field(default=None, validate_default=True, description="With `metric`.")
    ratings: tuple[RatingIn, ...] = Field(default=(), max_length=16, description="One per metric.")
    customer: CustomerIn | None = None
    title: Words = None
    text: Words = Field(default=None, description="In the customer's words, without HTML.")
    url: Url | None = Field(default=None, description="Where it can be read.")
    public: bool = Field(default=False, description="Others can read it: a post, a public review.")
    language: Language | None = Field(default=None, description="ISO 639-1, where you know it.", examples=["tr"])
    thread_id: Label | None = Field(default=None, description="The conversation it belongs to.")

    @field_validator("survey")
    @classmethod
    def _named(cls, survey: SurveyIn | None, info: ValidationInfo) -> SurveyIn | None:
        if survey is None and info.data.get("kind") == "survey_response":
            raise ValueError("a survey_response names its survey: give survey.id and survey.type")
        return survey

    @field_validator("score")
    @classmethod
    def _score_on_scale(cls, score: float | None, info: ValidationInfo) -> float | None:
        metric = info.data.get("metric")
        if score is None and metric is not None:
            raise ValueError("metric is given without a score")
        if score is not None and "metric" in info.data:
            if metric is None:
                raise ValueError("say what it measures: metric is one of nps, csat, ces")
            check_scale(metric, score, None, None)
        return score

    @field_validator("ratings")
    @classmethod
    def _one_per_metric(cls, ratings: tuple[RatingIn, ...], info: ValidationInfo) -> tuple[RatingIn, ...]:
        metrics = [rating.metric for rating in ratings]
        if info.data.get("score") is not None and "metric" in info.data:  # a wrong metric is a fault of its own
            metrics.append(info.data["metric"])
        if len(set(metrics)) != len(metrics):
            raise ValueError("one rating per metric")
        return ratings

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.removed:
            if self.id is None or self.revision == 0:
                raise ValueError("a removal needs the id and a revision above the one it takes back")
        elif self.text is None and self.title is None and self.score is None and not self.ratings:
            raise ValueError("says nothing: give a score, ratings, a title or a text")
        return self


def faults_of(error: ValidationError, *before: str | int) -> list[Fault]:
    """The faults of an item at `before`, without a word of what it contains."""
    return [
        Fault(path_of((*before, *fault["loc"])), _reason(fault["type"], fault["msg"]))
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]


def _reason(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "is not a field; the API page lists them"
    if kind == "model_type":
        return "must be an object"
    if kind == "timezone_aware":
        return "has no zone; write it as 2026-03-10T09:14:52Z"
    return message.removeprefix("Value error, ")
