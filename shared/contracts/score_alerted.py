"""`score.alerted.v1`: a series changed for real, lost its target or fell silent; raised once until it ends."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part
from shared.contracts.score_updated import Interval, Series
from shared.contracts.topics import SCORE_ALERTED, Topic


class Contributor(Part):
    """A sub-series and the points it adds to the change."""

    dimensions: dict[Label, Label]
    points: float


class ScoreAlertedV1(EventData):
    """The start or the end of an alert, with its evidence."""

    event_type: ClassVar[str] = "dev.closeloop.score.alerted.v1"
    topic: ClassVar[Topic] = SCORE_ALERTED

    alert_id: UUID
    series: Series
    kind: Literal["drop", "rise", "target_lost", "silence"]
    state: Literal["raised", "ended"]
    as_of: AwareDatetime
    value: float | None = None
    n: int
    interval: Interval | None = None
    previous_value: float | None = None
    previous_n: int | None = None
    p_value: float | None = None
    target: float | None = None
    days: int | None = Field(default=None, description="Days that `value` and `n` are of.")
    previous_days: int | None = Field(default=None, description="Days before them that `previous_value` is of.")
    contributors: tuple[Contributor, ...] = Field(default=(), description="Largest first.")
    rule_version: Label

    @override
    def key(self) -> str:
        """The series."""
        return self.series.name()
