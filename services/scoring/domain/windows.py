"""Rolling windows by the hour, and how they are cut into stored buckets.

The rule: hours are UTC and counted from 1970. A window of N days contains the last N × 24 hours up to and including the
running one, so at 10:20 the 7-day window began at 11:00 seven days ago. The window before it is the N × 24 hours
directly before. UTC has no daylight saving: every window has the same length.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from shared.contracts.score_updated import Window

Grain = Literal["d", "h"]

DAYS_OF: dict[Window, int] = {"7d": 7, "30d": 30, "90d": 90}
WINDOW_OF: dict[int, Window] = {days: window for window, days in DAYS_OF.items()}
ALL_DAYS: tuple[int, ...] = tuple(DAYS_OF.values())

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
# Days back from now where a window or the window before it ends: between two edges nothing needs to be told apart.
EDGES: tuple[int, ...] = tuple(sorted({0, *ALL_DAYS, *(2 * days for days in ALL_DAYS)}))


def hour_of(moment: datetime) -> int:
    """The hour that `moment` lies in, counted from 1970 in UTC."""
    return (moment - _EPOCH) // _HOUR


def start_of_hour(hour: int) -> datetime:
    """The moment at which `hour` begins."""
    return _EPOCH + hour * _HOUR


def as_of(hour: int) -> datetime:
    """The end of the windows while `hour` runs: the end of that hour."""
    return start_of_hour(hour + 1)


def windows_touched(hour: int, now: int) -> tuple[int, ...]:
    """Windows, in days, whose score (or whose previous window) an answer of `hour` moves while the hour `now` runs.

    An hour still to come touches all: it may have begun when the score is computed.
    """
    return tuple(days for days in ALL_DAYS if hour > now - 48 * days)


class Span(NamedTuple):
    """Stored buckets `low` … `high` (both inclusive) of one grain, hours or days, that belong to a segment."""

    segment: int
    grain: Grain
    low: int
    high: int


def spans(now: int) -> list[Span]:
    """The buckets of every segment while the hour `now` runs: whole days where possible, hours at the edges.

    Segment i reaches from EDGES[i] to EDGES[i + 1] days back. At most about 350 buckets for all windows together.
    """
    found: list[Span] = []
    for segment in range(len(EDGES) - 1):
        low, high = now - 24 * EDGES[segment + 1] + 1, now - 24 * EDGES[segment]
        first_day, last_day = -(-low // 24), (high + 1) // 24 - 1
        if first_day > last_day:
            found.append(Span(segment, "h", low, high))
            continue
        if low < 24 * first_day:
            found.append(Span(segment, "h", low, 24 * first_day - 1))
        found.append(Span(segment, "d", first_day, last_day))
        if 24 * (last_day + 1) <= high:
            found.append(Span(segment, "h", 24 * (last_day + 1), high))
    return found


def segments_of(days: int, *, previous: bool = False) -> Iterable[int]:
    """The segments that a window, or the one before it, is the sum of."""
    start, end = (days, 2 * days) if previous else (0, days)
    return range(EDGES.index(start), EDGES.index(end))
