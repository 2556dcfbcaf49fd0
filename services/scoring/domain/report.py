"""The quarterly report of a department: its scores, what moved them, what customers say, what was done about it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from services.scoring.domain import intervals
from services.scoring.domain.answers import SENTIMENT, UNHEARD, KeptMetric
from services.scoring.domain.drivers import Part, contributions
from services.scoring.domain.scores import LEVEL, NOTHING, Measured, Score, value_of
from services.scoring.domain.series import SeriesKey
from services.scoring.domain.significance import adjusted
from shared.contracts.feedback_received import SurveyType
from shared.contracts.score_updated import Interval, PreviousWindow
from shared.core.errors import Fault, InvalidInput


class Quarter(NamedTuple):
    """A quarter of the calendar; `number` is 1 to 4."""

    year: int
    number: int

    @staticmethod
    def of(day: date) -> "Quarter":
        """The quarter that a day lies in."""
        return Quarter(day.year, (day.month + 2) // 3)

    @staticmethod
    def read(text: str, path: str) -> "Quarter":
        """Undo `str`; `path` is where it was named. Raises InvalidInput."""
        if not (found := re.fullmatch(r"(19[7-9]\d|[2-9]\d{3})-Q([1-4])", text)):
            raise InvalidInput("That is no quarter.", faults=[Fault(path, "write it as 2026-Q3")])
        return Quarter(int(found[1]), int(found[2]))

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, 3 * self.number - 2, 1)

    def moved(self, by: int) -> "Quarter":
        """So many quarters later, or earlier."""
        year, number = divmod(self.year * 4 + self.number - 1 + by, 4)
        return Quarter(year, number + 1)

    def __str__(self) -> str:
        return f"{self.year}-Q{self.number}"


@dataclass(frozen=True, slots=True)
class Week:
    """One week of the quarter, or what there is of it: the score of its answers alone."""

    start: date
    value: float | None
    n: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class ReportTarget:
    """The next target of the series for its quarter; `distance` is value − target, `met` is None without a value."""

    value: float
    due: date
    distance: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class ReportScore:
    """A score of the whole quarter so far. `score.previous` is the quarter before, `year_before` the same one a year
    earlier; None where nobody answered then."""

    metric: KeptMetric
    survey_type: SurveyType
    score: Score
    year_before: PreviousWindow | None
    target: ReportTarget | None
    weeks: tuple[Week, ...]


@dataclass(frozen=True, slots=True)
class Mover:
    """One part of a score (a touchpoint, a product, …) and how many points of the change to the quarter before it
    brought: `rate` by its own change, `mix` by its changed share."""

    metric: KeptMetric
    survey_type: SurveyType
    dimension: str
    name: str
    value: float | None
    n: int
    previous_value: float | None
    previous_n: int
    points: float
    rate: float
    mix: float


@dataclass(frozen=True, slots=True)
class Voice:
    """An issue that messages raise. `share` is of all messages, in percent; a message may raise several. `change` is
    in percentage points against the quarter before, `real` says that it is more than noise."""

    issue: str
    n: int
    share: float
    positive: int
    neutral: int
    negative: int
    unknown: int
    previous_n: int
    change: float | None
    real: bool


@dataclass(frozen=True, slots=True)
class Named:
    """How often something was named."""

    name: str
    n: int


@dataclass(frozen=True, slots=True)
class Cases:
    """What became of the messages that needed an answer: `opened` and `resolved` in the quarter, `waiting` at its end.
    `on_time` counts first answers within their time among the `answered` that had one."""

    opened: int
    resolved: int
    waiting: int
    answered: int
    on_time: int
    first_response_seconds: float | None
    """Median, calendar time."""
    causes: tuple[Named, ...]
    actions: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Detractors whose case was closed in the quarter; `answered` of them rated again since, `recovered` as passive or
    promoter. `rate` is recovered ÷ closed, in percent."""

    closed: int
    answered: int
    recovered: int
    rate: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What stands in the way, in the words of the manager."""

    text: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class QuarterReport:
    """`quarter` is spelled 2026-Q3, by the calendar of `time_zone`; `end` is that of the quarter, `as_of` how far
    answers are in it. `department` None: all of them. `messages` are those with words."""

    workspace: str
    department: str | None
    quarter: str
    start: datetime
    end: datetime
    as_of: datetime
    time_zone: str
    rule_version: str
    scores: tuple[ReportScore, ...]
    movers: tuple[Mover, ...]
    messages: int
    previous_messages: int
    voice: tuple[Voice, ...]
    cases: Cases
    recovery: Recovery
    obstacles: Obstacles | None

    @property
    def is_over(self) -> bool:
        """Whether no more hours of the quarter are to come."""
        return self.as_of >= self.end


Sides = tuple[Measured, Measured]
"""Sums of the quarter, and of the one before it."""

# Of each score so many parts are named, and none that moved it by less (in its own points, of a hundred).
_MOST_MOVERS, _LEAST_POINTS = 6, 0.05
_REAL = 0.05


def movers_of(key: SeriesKey, measure: str, dimension: str, parts: Mapping[SeriesKey, Sides]) -> list[Mover]:
    """What the parts of a score by one more dimension did to its change, the largest first."""
    now, before = ({one: _part(measure, sides[at]) for one, sides in parts.items()} for at in (0, 1))
    return [
        Mover(
            metric=key.metric,
            survey_type=key.survey_type,
            dimension=dimension,
            name=dict(one.dimensions)[dimension],
            value=round(now[one].value, 4) if now[one].n else None,
            n=now[one].n,
            previous_value=round(before[one].value, 4) if before[one].n else None,
            previous_n=before[one].n,
            points=round(moved.points, 4),
            rate=round(moved.rate, 4),
            mix=round(moved.mix, 4),
        )
        for one, moved in contributions(before, now).items()
    ]


def most_moving(movers: list[Mover], scale: float) -> list[Mover]:
    """The few that did most, over all dimensions; `scale` is how wide the values of the score lie apart."""
    worth = [one for one in movers if abs(one.points) >= _LEAST_POINTS * scale / 100]
    return sorted(worth, key=lambda one: (-abs(one.points), one.dimension, one.name))[:_MOST_MOVERS]


def _part(measure: str, measured: Measured) -> Part:
    tally = measured.get(measure, NOTHING)
    return Part(tally.n, value_of(measure, tally) or 0.0)


def voices(by_issue: Mapping[str, Sides], whole: Sides) -> list[Voice]:
    """Issues by how many messages raise them. A change of a share is real where it is at 5 %, adjusted for all issues
    (Benjamini–Hochberg)."""
    total, total_before = (messages(side) for side in whole)
    counts = {issue: (messages(now), messages(before)) for issue, (now, before) in by_issue.items()}
    tested = [issue for issue in counts if total and total_before]
    shares = ({issue: (counts[issue][at], (total, total_before)[at]) for issue in tested} for at in (0, 1))
    now, before = next(shares), next(shares)
    p_values = [_p_value(now[issue], before[issue]) for issue in tested]
    real = {issue: p < _REAL for issue, p in zip(tested, adjusted(p_values), strict=True)}
    found = [
        _voice(issue, sides[0], counts[issue], (total, total_before), real=real.get(issue, False))
        for issue, sides in by_issue.items()
        if counts[issue][0]
    ]
    return sorted(found, key=lambda one: (-one.n, one.issue))


def messages(measured: Measured) -> int:
    """How many messages there are, whether their sentiment is known or not."""
    return measured.get(SENTIMENT, NOTHING).n + measured.get(UNHEARD, NOTHING).n


def _p_value(now: tuple[int, int], before: tuple[int, int]) -> float:
    sides = (intervals.share_adjusted(total, hits, LEVEL) for hits, total in (now, before))
    return intervals.z_test(*next(sides), *next(sides))


def _voice(issue: str, now: Measured, counts: tuple[int, int], totals: tuple[int, int], *, real: bool) -> Voice:
    tally = now.get(SENTIMENT, NOTHING)
    (n, n_before), (total, total_before) = counts, totals
    share = 100 * n / total if total else 0.0
    return Voice(
        issue=issue,
        n=n,
        share=round(share, 2),
        positive=tally.top,
        neutral=tally.n - tally.top - tally.bottom,
        negative=tally.bottom,
        unknown=now.get(UNHEARD, NOTHING).n,
        previous_n=n_before,
        change=round(share - 100 * n_before / total_before, 2) if total_before else None,
        real=real,
    )


def recovery_of(closed: int, answered: int, recovered: int) -> Recovery:
    """With the rate and its interval (Agresti–Coull)."""
    if not closed:
        return Recovery(0, 0, 0, None, None)
    low, high = intervals.normal_interval(*intervals.share_adjusted(closed, recovered, LEVEL), LEVEL, 0, 100)
    interval = Interval(low=round(low, 2), high=round(high, 2), level=LEVEL, method="adjusted_wald")
    return Recovery(closed, answered, recovered, round(100 * recovered / closed, 2), interval)
