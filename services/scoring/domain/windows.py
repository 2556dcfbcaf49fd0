"""Windows by the hour of a workspace, and how they are cut into stored sums.

Hours are counted from 1970 on the workspace's standard time: a grid that never jumps, in which hour 24 × d begins day
d. Zones whose offset is no whole hour (Tehran, Kolkata) have hours that begin at half past by UTC.

A rolling window of N days contains the last N × 24 hours up to and including the running one, so at 10:20 the 7-day
window began at 11:00 seven days ago; the window before it is the N × 24 hours directly before. A month or quarter
begins at midnight of its first day as the clock on the wall shows it (daylight saving included) and reaches to the
running hour; the window before it is the whole month or quarter before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from shared.contracts.score_updated import Window

Grain = Literal["d", "h"]

ROLLING_DAYS: dict[Window, int] = {"7d": 7, "30d": 30, "90d": 90}
CALENDAR_MONTHS: dict[Window, int] = {"month": 1, "quarter": 3}
WINDOWS: tuple[Window, ...] = (*ROLLING_DAYS, *CALENDAR_MONTHS)
HOURS_A_DAY = 24

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
# Years in which a zone's standard offset is looked for: that of the present decade.
_STANDARD_YEAR = 2026
_FEBRUARY = 2


class Bounds(NamedTuple):
    """A window is the hours from `start` to before `end`, the one before it those from `before` to before `start`."""

    before: int
    start: int
    end: int


@dataclass(frozen=True)
class Grid:
    """The hours of a time zone."""

    zone: str = "UTC"

    @property
    def offset(self) -> timedelta:
        """Of its standard time: what has to be added to UTC."""
        return _standard_offset(self.zone)

    @property
    def offset_microseconds(self) -> int:
        """The same as a number."""
        return self.offset // timedelta(microseconds=1)

    def hour_of(self, moment: datetime) -> int:
        """The hour that `moment` lies in."""
        return (moment - _EPOCH + self.offset) // _HOUR

    def start_of(self, hour: int) -> datetime:
        """The moment at which an hour begins."""
        return _EPOCH + hour * _HOUR - self.offset

    def as_of(self, hour: int) -> datetime:
        """The end of the windows while `hour` runs: the end of that hour."""
        return self.start_of(hour + 1)

    def hour_of_day(self, day: date) -> int:
        """The hour with which a day of the calendar begins. Where a change of the clock leaves no such hour on the
        grid, the one that contains midnight."""
        return self.hour_of(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)).astimezone(UTC))

    def day_bounds(self, day: date, window: Window | None) -> Bounds:
        """The hours of a day of the calendar, or of the window of whole days that ends with it."""
        end = self.hour_of_day(day + timedelta(days=1))
        if window is None:
            first = day
        elif window in ROLLING_DAYS:
            first = day - timedelta(days=ROLLING_DAYS[window] - 1)
        else:
            first = _first_of(day, CALENDAR_MONTHS[window])
        start = self.hour_of_day(first)
        return Bounds(start, start, end)

    def a_year_before(self, hour: int) -> int:
        """The same hour of the wall clock a year earlier; of 29 February that of the 28th."""
        moment = self.start_of(hour).astimezone(ZoneInfo(self.zone))
        day = min(moment.day, 28) if moment.month == _FEBRUARY else moment.day
        return self.hour_of(moment.replace(year=moment.year - 1, day=day).astimezone(UTC))

    def day_at(self, hour: int) -> date:
        """The day of the calendar when an hour begins."""
        return self.start_of(hour).astimezone(ZoneInfo(self.zone)).date()

    def bounds(self, now: int) -> dict[Window, Bounds]:
        """All windows while the hour `now` runs."""
        return _bounds(self, now)


@lru_cache(maxsize=1024)
def _standard_offset(zone: str) -> timedelta:
    offsets = (datetime(_STANDARD_YEAR, month, 1, tzinfo=ZoneInfo(zone)).utcoffset() for month in range(1, 13))
    return min(offset for offset in offsets if offset is not None)


@lru_cache(maxsize=4096)
def _bounds(grid: Grid, now: int) -> dict[Window, Bounds]:
    end = now + 1
    found = {
        window: Bounds(end - 2 * HOURS_A_DAY * days, end - HOURS_A_DAY * days, end)
        for window, days in ROLLING_DAYS.items()
    }
    today = grid.day_at(now)
    for window, months in CALENDAR_MONTHS.items():
        first = _first_of(today, months)
        found[window] = Bounds(grid.hour_of_day(_months_before(first, months)), grid.hour_of_day(first), end)
    return found


def _first_of(day: date, months: int) -> date:
    return date(day.year, day.month - (day.month - 1) % months, 1)


def _months_before(first: date, months: int) -> date:
    number = first.year * 12 + first.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def windows_touched(hour: int, bounds: Mapping[Window, Bounds]) -> Iterable[Window]:
    """Windows whose score (or whose previous window) an answer of `hour` moves.

    An hour still to come touches all: it may have begun when the score is computed.
    """
    return (window for window, bound in bounds.items() if hour >= bound.before)


def moved(before: int, now: int, grid: Grid) -> dict[Window, list[tuple[int, int]]]:
    """For each window the ranges of hours (from, to before) that came, left it or left the one before it when the
    running hour went from `before` to `now`."""
    old, new = grid.bounds(before), grid.bounds(now)
    return {
        window: [pair for pair in zip(old[window], new[window], strict=True) if pair[0] != pair[1]]
        for window in WINDOWS
    }


class Span(NamedTuple):
    """Stored sums `low` … `high` (both inclusive) of one grain, hours or days, that belong to a segment."""

    segment: int
    grain: Grain
    low: int
    high: int


@dataclass(frozen=True)
class Cut:
    """All windows of an hour cut into segments: no window begins or ends inside one."""

    edges: tuple[int, ...]
    bounds: Mapping[Window, Bounds]

    def spans(self) -> list[Span]:
        """The stored sums of every segment: whole days where possible, hours at the edges."""
        return spans_between(self.edges)

    def segments(self, window: Window, *, previous: bool = False) -> range:
        """The segments that a window, or the one before it, is the sum of."""
        before, start, end = self.bounds[window]
        low, high = (before, start) if previous else (start, end)
        return range(self.edges.index(low), self.edges.index(high))


@lru_cache(maxsize=1024)
def cut(grid: Grid, now: int) -> Cut:
    """The windows while the hour `now` runs."""
    bounds = grid.bounds(now)
    return Cut(tuple(sorted({edge for bound in bounds.values() for edge in bound})), bounds)


def spans_between(edges: Sequence[int]) -> list[Span]:
    """The stored sums between neighbouring edges, a segment each: whole days where possible, hours at the edges."""
    return [span for segment, (low, end) in enumerate(pairwise(edges)) for span in _spans(segment, low, end - 1)]


def hours_by_segment(spans: Iterable[Span]) -> dict[int, tuple[int, int]]:
    """Segment → its first and last hour."""
    found: dict[int, tuple[int, int]] = {}
    for span in spans:
        hours = HOURS_A_DAY if span.grain == "d" else 1
        low, high = span.low * hours, (span.high + 1) * hours - 1
        first, last = found.get(span.segment, (low, high))
        found[span.segment] = (min(first, low), max(last, high))
    return found


def _spans(segment: int, low: int, high: int) -> list[Span]:
    first_day, last_day = -(-low // HOURS_A_DAY), (high + 1) // HOURS_A_DAY - 1
    if first_day > last_day:
        return [Span(segment, "h", low, high)]
    found = [Span(segment, "d", first_day, last_day)]
    if low < HOURS_A_DAY * first_day:
        found.append(Span(segment, "h", low, HOURS_A_DAY * first_day - 1))
    if HOURS_A_DAY * (last_day + 1) <= high:
        found.append(Span(segment, "h", HOURS_A_DAY * (last_day + 1), high))
    return found
