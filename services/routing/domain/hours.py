"""Business hours: when a member or a desk is open, and when a threshold that is spent only in open time is due.

Friday 16:30 + 1 h, Mon–Fri 9–17 ⇒ Monday 09:30.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# Minutes after midnight: opening (included) and closing (excluded); 1440 is the end of the day.
Interval = tuple[int, int]
Week = tuple[tuple[Interval, ...], ...]
MINUTES_A_DAY = 1440
# Beyond this the hours are closed for good (holidays on every day): a fault of whoever wrote them.
_HORIZON_DAYS = 3660


class NeverOpen(ValueError):
    """These hours do not open within ten years."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Open intervals of each weekday (Monday first), in the wall time of `time_zone`, closed on `holidays`."""

    time_zone: str
    week: Week
    holidays: frozenset[date] = frozenset()


def open_intervals(hours: Hours, day: date) -> Iterator[tuple[datetime, datetime]]:
    """(from, until) in UTC of the local calendar day `day`.

    On the day the clock goes back an interval runs from the first reading of its opening to the last of its closing;
    on the day it goes forward the hour that does not exist is not open.
    """
    if day in hours.holidays:
        return
    zone = ZoneInfo(hours.time_zone)
    for opening, closing in hours.week[day.weekday()]:
        start, end = _instant(day, opening, zone, last=False), _instant(day, closing, zone, last=True)
        if start < end:
            yield start, end


def is_open(hours: Hours, moment: datetime) -> bool:
    """True within an open interval (the closing instant is outside)."""
    day = _local_day(hours, moment)
    return any(start <= moment < end for start, end in _from(hours, day, days=3))


def next_open(hours: Hours, moment: datetime) -> datetime:
    """`moment` if open, else the next opening. Raises NeverOpen."""
    for start, end in _from(hours, _local_day(hours, moment)):
        if moment < end:
            return max(start, moment)
    raise NeverOpen("these hours never open")


def due_at(hours: Hours, start: datetime, seconds: float) -> datetime:
    """When `seconds` of open time after `start` are spent, in UTC; never inside closed time. Raises NeverOpen."""
    left = timedelta(seconds=seconds)
    for opening, closing in _from(hours, _local_day(hours, start)):
        begin = max(opening, start)
        if begin >= closing:
            continue
        if begin + left <= closing:
            return begin + left
        left -= closing - begin
    raise NeverOpen("these hours never open")


def open_seconds(hours: Hours, start: datetime, end: datetime) -> float:
    """Open time between two moments."""
    spent = timedelta()
    for opening, closing in _from(hours, _local_day(hours, start)):
        if opening >= end:
            break
        spent += max(timedelta(), min(closing, end) - max(opening, start))
    return spent.total_seconds()


def _local_day(hours: Hours, moment: datetime) -> date:
    """The day before the local one: an interval that ends at midnight may reach over a shift of the clock."""
    return moment.astimezone(ZoneInfo(hours.time_zone)).date() - timedelta(days=1)


def _from(hours: Hours, day: date, days: int = _HORIZON_DAYS) -> Iterator[tuple[datetime, datetime]]:
    if not any(hours.week):
        return
    for offset in range(days):
        yield from open_intervals(hours, day + timedelta(days=offset))


def _instant(day: date, minute: int, zone: ZoneInfo, *, last: bool) -> datetime:
    """The UTC instant of a wall time: the last or the first where it happens twice, the jump where it never does."""
    if minute == MINUTES_A_DAY:
        day, minute = day + timedelta(days=1), 0
    wall = datetime.combine(day, time(minute // 60, minute % 60), zone)
    first, second = wall.replace(fold=0).astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    if second < first:
        return _jump(second, first, zone)
    return second if last else first


def _jump(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
