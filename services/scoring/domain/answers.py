"""What an answer adds to which series, in exact integers, so that taking it back leaves nothing behind."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from services.scoring.domain.windows import Grain, hour_of
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1, Metric, Rating, SurveyType, band_of
from shared.contracts.score_updated import Series
from shared.core.errors import BadRecord
from shared.core.ids import name_id

# Order matters: it is the order of `Answer.dimensions` and of the columns that store them.
DIMENSIONS: tuple[str, ...] = ("touchpoint", "department", "product", "segment", "channel", "wave")
DIMENSION_SETS: tuple[tuple[str, ...], ...] = ((), *((name,) for name in DIMENSIONS), ("department", "touchpoint"))
_PLACES: tuple[tuple[int, ...], ...] = tuple(
    tuple(DIMENSIONS.index(name) for name in names) for names in DIMENSION_SETS
)

# Values count to six decimals. Beyond the limit a sum of squares would leave what a float can show.
MICRO = 1_000_000
SCALE_LIMIT = 1e9


class Point(NamedTuple):
    """One rating as it is added up. `measure` is what may be added together: a formula, and for means the scale."""

    metric: Metric
    measure: str
    top: int
    """1 for a promoter, or for one of the two best points."""
    bottom: int
    """1 for a detractor."""
    micro: int
    """The value in millionths where the formula is a mean, else 0."""
    value: float
    scale_min: float
    scale_max: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One version of one feedback. `points` is empty for a removal, and where nothing was rated."""

    workspace: str
    feedback_id: UUID
    revision: int
    removed: bool
    occurred_at: datetime
    survey_type: SurveyType
    survey: str | None
    customer_id: UUID | None
    dimensions: tuple[str | None, ...]
    points: tuple[Point, ...]

    @property
    def key(self) -> tuple[str, UUID]:
        """Whose version it is."""
        return self.workspace, self.feedback_id

    @property
    def rank(self) -> tuple[int, bool]:
        """Of two versions the higher rank counts; a removal wins over the revision it names."""
        return self.revision, self.removed

    @property
    def is_void(self) -> bool:
        """True where it adds nothing and no earlier version can exist: nothing to remember."""
        return not self.points and not self.removed and self.revision == 0


class SeriesKey(NamedTuple):
    """A series without its window. `dimensions` are sorted by name."""

    workspace: str
    metric: Metric
    survey_type: SurveyType
    dimensions: tuple[tuple[str, str], ...]

    def in_window(self, window: str) -> Series:
        """The series as contracts name it."""
        return Series.model_validate(
            {
                "metric": self.metric,
                "survey_type": self.survey_type,
                "window": window,
                "dimensions": dict(self.dimensions),
            }
        )


@lru_cache(maxsize=100_000)
def series_id(key: SeriesKey) -> str:
    """The id under which a series is stored, as 32 hexadecimal digits: the same everywhere, so nobody looks it up.

    A string and not a UUID, because batches hash and sort thousands of them, and strings do that several times faster.
    """
    return name_id("series", key.workspace, series_name(key)).hex


@lru_cache(maxsize=100_000)
def series_name(key: SeriesKey) -> str:
    """`metric|survey_type|dimensions`: the contract's spelling without the window; lists go by it."""
    metric, survey_type, _, dimensions = key.in_window("7d").name().split("|")
    return f"{metric}|{survey_type}|{dimensions}"


def answer_of(event: Event[FeedbackReceivedV1]) -> Answer:
    """The answer in an event. Raises BadRecord for what no rule can score.

    It counts at `occurred_at`, but never later than `received_at`: a clock ahead of ours must not put answers into
    hours to come, and this rule gives the same again at a replay. A rating that no survey asked for (the stars of a
    review) is transactional where it names a touchpoint, else relational.
    """
    data = event.data
    try:
        occurred_at = min(data.occurred_at, data.received_at).astimezone(UTC)
    except OverflowError:
        raise BadRecord("occurred_at is outside the calendar") from None
    asked = data.survey.type if data.survey else ("transactional" if data.touchpoint else "relational")
    wave = data.survey.wave if data.survey else None
    return Answer(
        workspace=event.workspace,
        feedback_id=data.feedback_id,
        revision=data.revision,
        removed=data.removed,
        occurred_at=occurred_at,
        survey_type=asked,
        survey=data.survey.id if data.survey else None,
        customer_id=data.customer_id,
        dimensions=(data.touchpoint, data.department, data.product, data.segment, data.channel, wave),
        points=() if data.removed else tuple(point_of(rating) for rating in data.ratings),
    )


def point_of(rating: Rating) -> Point:
    """A rating by its own formula. Raises BadRecord."""
    low, high = rating.scale_min, rating.scale_max
    if max(abs(low), abs(high)) > SCALE_LIMIT:
        raise BadRecord(f"{rating.metric}: a scale beyond ±{SCALE_LIMIT:g} cannot be scored")
    if rating.formula == "nps":
        if (low, high) != (0, 10):
            raise BadRecord(f"{rating.metric}: the formula nps needs the scale 0–10, not {low:g}–{high:g}")
        band = band_of(rating.value)
        return _point(rating, "nps", top=band == "promoter", bottom=band == "detractor")
    if rating.formula == "top_two":
        return _point(rating, "top_two", top=rating.value >= top_two_from(low, high))
    return _point(rating, f"mean:{low:.12g}:{high:.12g}", micro=round(rating.value * MICRO))


def top_two_from(low: float, high: float) -> float:
    """The least value that is one of the two best points; on a yes-or-no scale only the best one is."""
    return high - 1 if high - low >= 2 else high


def _point(rating: Rating, measure: str, *, top: bool = False, bottom: bool = False, micro: int = 0) -> Point:
    return Point(rating.metric, measure, int(top), int(bottom), micro, rating.value, rating.scale_min, rating.scale_max)


def dump_points(points: Iterable[Point]) -> str:
    """Points as JSON rows, for storing."""
    return json.dumps([list(point) for point in points])


def load_points(stored: Iterable[Iterable[Any]]) -> tuple[Point, ...]:
    """Undo `dump_points` (of decoded JSON)."""
    return tuple(Point(*row) for row in stored)


@lru_cache(maxsize=100_000)
def series_of(
    workspace: str, metric: Metric, survey_type: SurveyType, values: tuple[str | None, ...]
) -> tuple[tuple[str, SeriesKey], ...]:
    """Every series (id, key) that an answer with `metric` and these values of DIMENSIONS belongs to."""
    found: list[tuple[str, SeriesKey]] = []
    for names, places in zip(DIMENSION_SETS, _PLACES, strict=True):
        picked = tuple(values[place] for place in places)
        if None not in picked:
            dimensions = cast("tuple[tuple[str, str], ...]", tuple(zip(names, picked, strict=True)))
            key = SeriesKey(workspace, metric, survey_type, dimensions)
            found.append((series_id(key), key))
    return tuple(found)


class Bucket(NamedTuple):
    """Address of one stored sum: a series and measure in one hour or one UTC day."""

    workspace: str
    series: str
    grain: Grain
    slot: int
    measure: str


class Deltas:
    """What a batch changes: sums per bucket [n, top, bottom, total, squares], and the series and events behind."""

    def __init__(self) -> None:
        self.series: dict[str, SeriesKey] = {}
        self.causes: dict[str, Event[Any]] = {}
        self._hours: dict[tuple[str, str, int], list[int]] = {}

    def add(self, answer: Answer, sign: int, cause: Event[Any]) -> None:
        """Count an answer (sign 1) or take it back (sign −1)."""
        hour = hour_of(answer.occurred_at)
        for point in answer.points:
            top, bottom, micro = sign * point.top, sign * point.bottom, sign * point.micro
            squares = micro * point.micro
            for identity, key in series_of(answer.workspace, point.metric, answer.survey_type, answer.dimensions):
                sums = self._hours.get((identity, point.measure, hour))
                if sums is None:
                    sums = self._hours[identity, point.measure, hour] = [0, 0, 0, 0, 0]
                # Unrolled: this runs once per answer and series, the hottest lines of the batch.
                sums[0] += sign
                sums[1] += top
                sums[2] += bottom
                sums[3] += micro
                sums[4] += squares
                self.series[identity] = key
                self.causes[identity] = cause

    def hours(self) -> dict[str, int]:
        """Series that really change → the latest hour in which they do."""
        latest: dict[str, int] = {}
        for (identity, _, hour), sums in self._hours.items():
            if any(sums) and latest.get(identity, hour) <= hour:
                latest[identity] = hour
        return latest

    def buckets(self) -> list[tuple[Bucket, list[int]]]:
        """The sums to add, by hour and by day, in the one order in which everybody locks them."""
        days: dict[tuple[str, str, int], list[int]] = {}
        found: list[tuple[Bucket, list[int]]] = []
        for (identity, measure, hour), sums in self._hours.items():
            if any(sums):
                found.append((Bucket(self.series[identity].workspace, identity, "h", hour, measure), sums))
                day = days.setdefault((identity, measure, hour // 24), [0, 0, 0, 0, 0])
                for place, amount in enumerate(sums):
                    day[place] += amount
        for (identity, measure, slot), sums in days.items():
            if any(sums):
                found.append((Bucket(self.series[identity].workspace, identity, "d", slot, measure), sums))
        found.sort()  # addresses are unique: the sums are never compared
        return found


def latest_versions(answers: Iterable[tuple[Answer, Event[Any]]]) -> list[tuple[Answer, Event[Any]]]:
    """Of each feedback the version that counts (the first of equals), in the one order in which everybody locks."""
    chosen: dict[tuple[str, UUID], tuple[Answer, Event[Any]]] = {}
    for answer, event in answers:
        held = chosen.get(answer.key)
        if held is None or held[0].rank < answer.rank:
            chosen[answer.key] = (answer, event)
    return [chosen[key] for key in sorted(chosen)]
