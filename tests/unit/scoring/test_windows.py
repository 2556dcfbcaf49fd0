"""Edges of windows, and that spans cut them without gap or overlap."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.domain.windows import ROLLING_DAYS, WINDOWS, Grid, cut, moved, windows_touched
from shared.contracts.score_updated import Window
from tests.integration.scoring.support import window_of

HOURS = st.integers(400_000, 600_000)
ZONES = st.sampled_from(
    ["UTC", "Europe/Istanbul", "Asia/Tehran", "America/New_York", "Australia/Sydney", "Asia/Kathmandu"]
)
UTC_GRID = Grid()


def covered(grid: Grid, now: int, window: Window, *, previous: bool = False) -> list[int]:
    """All hours of a window as its spans name them."""
    windows = cut(grid, now)
    wanted = set(windows.segments(window, previous=previous))
    hours: list[int] = []
    for span in windows.spans():
        if span.segment in wanted and span.grain == "h":
            hours += range(span.low, span.high + 1)
        elif span.segment in wanted:
            hours += range(24 * span.low, 24 * (span.high + 1))
    return sorted(hours)


def test_an_hour_begins_with_its_first_moment_and_ends_before_the_next() -> None:
    moment = datetime(2026, 3, 10, 9, tzinfo=UTC)
    hour = UTC_GRID.hour_of(moment)
    assert UTC_GRID.start_of(hour) == moment
    assert UTC_GRID.hour_of(moment + timedelta(minutes=59, seconds=59, microseconds=999_999)) == hour
    assert UTC_GRID.hour_of(moment - timedelta(microseconds=1)) == hour - 1
    assert UTC_GRID.as_of(hour) == moment + timedelta(hours=1)
    assert UTC_GRID.hour_of(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == -1


def test_how_a_time_is_written_does_not_matter() -> None:
    istanbul = timezone(timedelta(hours=3))
    same = datetime(2026, 3, 10, 12, 30, tzinfo=istanbul), datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
    assert UTC_GRID.hour_of(same[0]) == UTC_GRID.hour_of(same[1])


def test_hours_of_tehran_begin_at_half_past() -> None:
    grid = Grid("Asia/Tehran")
    moment = datetime(2026, 3, 20, 20, 30, tzinfo=UTC)  # midnight there
    hour = grid.hour_of(moment)
    assert (grid.start_of(hour), hour % 24) == (moment, 0)
    assert grid.hour_of_day(date(2026, 3, 21)) == hour
    assert grid.day_at(hour) == date(2026, 3, 21)
    assert grid.day_at(hour - 1) == date(2026, 3, 20)


@given(zone=ZONES, now=HOURS, days=st.sampled_from(list(ROLLING_DAYS.items())))
def test_a_window_is_the_last_hours_with_the_running_one(zone: str, now: int, days: tuple[Window, int]) -> None:
    window, length = days
    assert covered(Grid(zone), now, window) == list(range(now - 24 * length + 1, now + 1))
    before = range(now - 48 * length + 1, now - 24 * length + 1)
    assert covered(Grid(zone), now, window, previous=True) == list(before)


@given(zone=ZONES, now=HOURS, window=st.sampled_from(WINDOWS))
def test_windows_are_those_of_the_calendar(zone: str, now: int, window: Window) -> None:
    grid = Grid(zone)
    before, start, end = grid.bounds(now)[window]
    moment = grid.start_of(now) + timedelta(minutes=7)
    assert (grid.start_of(before), grid.start_of(start), grid.start_of(end)) == window_of(window, moment, zone)
    assert covered(grid, now, window) == list(range(start, end))
    assert covered(grid, now, window, previous=True) == list(range(before, start))


@pytest.mark.parametrize(
    ("zone", "first", "hours"),
    [
        ("America/New_York", date(2026, 3, 1), 31 * 24 - 1),  # the clock goes forward
        ("America/New_York", date(2026, 11, 1), 30 * 24 + 1),
        ("Europe/Istanbul", date(2026, 3, 1), 31 * 24),
        ("Asia/Kathmandu", date(2026, 2, 1), 28 * 24),
    ],
)
def test_a_month_has_the_hours_of_its_wall_clock(zone: str, first: date, hours: int) -> None:
    grid = Grid(zone)
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    now = grid.hour_of_day(following) - 1
    bound = grid.bounds(now)["month"]
    assert (bound.start, bound.end) == (grid.hour_of_day(first), now + 1)
    assert bound.end - bound.start == hours
    assert grid.bounds(now + 1)["month"] == (bound.start, bound.end, bound.end + 1)
    assert grid.day_bounds(following - timedelta(days=1), "month") == (bound.start, bound.start, bound.end)


def test_a_quarter_begins_with_january_april_july_october() -> None:
    now = UTC_GRID.hour_of(datetime(2026, 2, 10, 5, tzinfo=UTC))
    before, start, _ = UTC_GRID.bounds(now)["quarter"]
    assert UTC_GRID.start_of(before) == datetime(2025, 10, 1, tzinfo=UTC)
    assert UTC_GRID.start_of(start) == datetime(2026, 1, 1, tzinfo=UTC)


@given(zone=ZONES, now=HOURS)
def test_few_sums_are_read(zone: str, now: int) -> None:
    spans = cut(Grid(zone), now).spans()
    assert sum(span.high - span.low + 1 for span in spans if span.grain == "d") <= 190
    assert len({day for span in spans if span.grain == "h" for day in (span.low // 24, span.high // 24)}) <= 12


@pytest.mark.parametrize(
    ("age", "rolling"),
    [
        (0, ["7d", "30d", "90d"]),
        (14 * 24 - 1, ["7d", "30d", "90d"]),
        (14 * 24, ["30d", "90d"]),
        (60 * 24, ["90d"]),
        (180 * 24 - 1, ["90d"]),
        (180 * 24, []),
        (-5, ["7d", "30d", "90d"]),
    ],
)
def test_windows_touched(age: int, rolling: list[str]) -> None:
    touched = windows_touched(1000_000 - age, UTC_GRID.bounds(1000_000))
    assert [window for window in touched if window in ROLLING_DAYS] == rolling


@given(zone=ZONES, now=HOURS, ahead=st.integers(1, 24 * 120), window=st.sampled_from(WINDOWS))
def test_what_moves_is_what_differs(zone: str, now: int, ahead: int, window: Window) -> None:
    grid = Grid(zone)
    old, new = grid.bounds(now)[window], grid.bounds(now + ahead)[window]
    hours = {hour for low, end in moved(now, now + ahead, grid)[window] for hour in range(low, end)}
    for hour in range(min(old.before, new.before) - 2, new.end + 2):
        was, is_ = ((bound.before <= hour < bound.start, bound.start <= hour < bound.end) for bound in (old, new))
        assert was == is_ or hour in hours
