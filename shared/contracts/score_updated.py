"""`score.updated.v1`: the value of one series now, with all that is needed to trust or distrust it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part
from shared.contracts.feedback_received import Formula, SurveyType
from shared.contracts.topics import SCORE_UPDATED, Topic

Window = Literal["7d", "30d", "90d", "month", "quarter"]
"""Rolling by the hour; or the month or quarter so far, in the time zone of the workspace."""


def _escaped(word: str) -> str:
    """Touchpoints and products are open lists: without this, two sets of dimensions could spell the same name."""
    return word.replace("%", "%25").replace(",", "%2C").replace("=", "%3D").replace("|", "%7C")


# What customers rate, and what is known besides: how they sound, and how many of those who were asked answered.
ScoreMetric = Literal["nps", "csat", "ces", "rating", "sentiment", "response_rate"]


class Series(Part):
    """One score over one metric, survey type, window and set of dimension values ({}: all)."""

    metric: ScoreMetric
    survey_type: SurveyType
    window: Window
    dimensions: dict[Label, Label] = Field(default_factory=dict, max_length=4)

    def name(self) -> str:
        """A stable spelling, such as `nps|transactional|30d|department=support,touchpoint=store`."""
        dimensions = ",".join(f"{_escaped(name)}={_escaped(value)}" for name, value in sorted(self.dimensions.items()))
        return f"{self.metric}|{self.survey_type}|{self.window}|{dimensions}"


class Interval(Part):
    """A confidence interval; `level` 0.95 means 95 %."""

    low: float
    high: float
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    method: Literal["adjusted_wald", "t"]


class Sentiments(Part):
    """How messages sound. `unknown` is not among the n of a score."""

    positive: Annotated[int, Field(ge=0)]
    neutral: Annotated[int, Field(ge=0)]
    negative: Annotated[int, Field(ge=0)]
    unknown: Annotated[int, Field(ge=0)]


class Invitations(Part):
    """What became of the invitations of a response rate. `delivered` includes `completed`; the others are apart."""

    delivered: Annotated[int, Field(ge=0)]
    completed: Annotated[int, Field(ge=0)]
    bounced: Annotated[int, Field(ge=0)]
    suppressed: Annotated[int, Field(ge=0)]


class PreviousWindow(Part):
    """The same series one window earlier, and whether the difference is more than noise."""

    value: float | None = None
    n: Annotated[int, Field(ge=0)]
    change: float | None = None
    p_value: Annotated[float, Field(ge=0, le=1)] | None = None


class ScoreUpdatedV1(EventData):
    """Published when an answer came, changed or went, and when the hour moved the window (`cause`)."""

    event_type: ClassVar[str] = "dev.closeloop.score.updated.v1"
    topic: ClassVar[Topic] = SCORE_UPDATED

    series: Series
    formula: Formula
    as_of: AwareDatetime = Field(description="End of the window: the end of the running hour.")
    cause: Literal["feedback", "tick", "rebuild"]
    value: float | None = Field(
        default=None,
        description="None while there is no answer. NPS is a number from −100 to 100; "
        "CSAT a share in percent; CES and rating a mean; sentiment the share of positive messages less that of "
        "negative ones, from −100 to 100, over those whose sentiment is known; the response rate the share "
        "in percent of the invitations delivered in the window whose survey was answered since.",
    )
    n: Annotated[int, Field(ge=0)]
    promoters: int | None = None
    passives: int | None = None
    detractors: int | None = None
    sentiments: Sentiments | None = None
    invitations: Invitations | None = None
    interval: Interval | None = None
    minimum_n: int
    reportable: bool = Field(description="False below minimum_n: show n, not the value.")
    previous: PreviousWindow | None = None
    target: float | None = None
    distance: float | None = Field(default=None, description="value − target.")
    rule_version: Label

    @override
    def key(self) -> str:
        """The series; its updates keep their order."""
        return self.series.name()
