"""Edges of windows, and that spans cut them without gap or overlap."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.domain.windows import (
    ALL_DAYS,
    as_of,
    hour_of,
    segments_of,
    spans,
    start_of_hour,
    windows_touched,
)

HOURS = st.integers(400_000, 600_000)


def covered(now: int, days: int, *, previous: bool = False) -> list[int]:
    """All hours of a window as its spans name them."""
    wanted = set(segments_of(days, previous=previous))
    hours: list[int] = []
    for span in spans(now):
        if span.segment in wanted and span.grain == "h":
            hours += range(span.low, span.high + 1)
        elif span.segment in wanted:
            hours += range(24 * span.low, 24 * (span.high + 1))
    return sorted(hours)


def test_an_hour_begins_with_its_first_moment_and_ends_before_the_next() -> None:
    moment = datetime(2026, 3, 10, 9, tzinfo=UTC)
    hour = hour_of(moment)
    assert start_of_hour(hour) == moment
    assert hour_of(moment + timedelta(minutes=59, seconds=59, microseconds=999_999)) == hour
    assert hour_of(moment - timedelta(microseconds=1)) == hour - 1
    assert as_of(hour) == moment + timedelta(hours=1)
    assert hour_of(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == -1


def test_the_zone_of_a_time_does_not_matter() -> None:
    istanbul = timezone(timedelta(hours=3))
    assert hour_of(datetime(2026, 3, 10, 12, 30, tzinfo=istanbul)) == hour_of(datetime(2026, 3, 10, 9, 30, tzinfo=UTC))


@given(now=HOURS, days=st.sampled_from(ALL_DAYS))
def test_a_window_is_the_last_hours_with_the_running_one(now: int, days: int) -> None:
    assert covered(now, days) == list(range(now - 24 * days + 1, now + 1))


@given(now=HOURS, days=st.sampled_from(ALL_DAYS))
def test_the_previous_window_is_directly_before(now: int, days: int) -> None:
    assert covered(now, days, previous=True) == list(range(now - 48 * days + 1, now - 24 * days + 1))


@given(now=HOURS)
def test_few_buckets_are_read(now: int) -> None:
    assert sum(span.high - span.low + 1 for span in spans(now)) <= 350


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, (7, 30, 90)),
        (14 * 24 - 1, (7, 30, 90)),
        (14 * 24, (30, 90)),
        (60 * 24, (90,)),
        (180 * 24 - 1, (90,)),
        (180 * 24, ()),
        (-5, (7, 30, 90)),
    ],
)
def test_windows_touched(age: int, expected: tuple[int, ...]) -> None:
    assert windows_touched(1000_000 - age, 1000_000) == expected
