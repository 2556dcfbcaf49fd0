from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.domain.hours import Hours, Interval, NeverOpen, due_at, is_open, next_open, open_seconds

BERLIN = "Europe/Berlin"
OFFICE = Hours(BERLIN, (((540, 1020),),) * 5 + ((), ()))


def at(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("hours", "start", "seconds", "due"),
    [
        (OFFICE, "2026-03-06T16:30", 3600, "2026-03-09T09:30"),  # Friday → Monday, the example of the README
        (OFFICE, "2026-03-06T16:00", 3600, "2026-03-06T17:00"),
        (OFFICE, "2026-03-07T12:00", 60, "2026-03-09T09:01"),
        (Hours(BERLIN, OFFICE.week, frozenset({date(2026, 3, 9)})), "2026-03-06T16:30", 3600, "2026-03-10T09:30"),
        (Hours(BERLIN, (((540, 750), (810, 1080)),) * 7), "2026-03-06T12:00", 3600, "2026-03-06T14:00"),
        (Hours(BERLIN, (((0, 1440),),) * 7), "2026-03-28T12:00", 86_400, "2026-03-29T13:00"),  # the clock goes forward
        (Hours(BERLIN, (((0, 1440),),) * 7), "2026-10-24T12:00", 86_400, "2026-10-25T11:00"),  # and back
        (Hours(BERLIN, (((120, 180), (540, 600)),) * 7), "2026-03-29T01:00", 60, "2026-03-29T09:01"),  # 2–3 is no hour
    ],
)
def test_due_time(hours: Hours, start: str, seconds: float, due: str) -> None:
    assert due_at(hours, at(start), seconds) == at(due).astimezone(UTC)


def test_an_hour_that_happens_twice_is_open_twice() -> None:
    night = Hours(BERLIN, (((120, 180),),) * 7)
    assert open_seconds(night, at("2026-10-25T00:00"), at("2026-10-25T12:00")) == 2 * 3600
    assert open_seconds(night, at("2026-03-29T00:00"), at("2026-03-29T12:00")) == 0


def test_the_closing_instant_is_closed() -> None:
    assert is_open(OFFICE, at("2026-03-06T09:00"))
    assert not is_open(OFFICE, at("2026-03-06T17:00"))
    assert next_open(OFFICE, at("2026-03-06T17:00")) == at("2026-03-09T09:00")
    assert next_open(OFFICE, at("2026-03-06T11:00")) == at("2026-03-06T11:00")


def test_hours_that_never_open_say_so() -> None:
    closed = Hours(BERLIN, ((),) * 7)
    with pytest.raises(NeverOpen):
        due_at(closed, at("2026-03-06T11:00"), 1)
    with pytest.raises(NeverOpen):
        next_open(closed, at("2026-03-06T11:00"))


def _spans(cuts: list[int]) -> tuple[Interval, ...]:
    ordered = sorted(set(cuts))
    return tuple(zip(ordered[::2], ordered[1::2], strict=False))


DAY = st.lists(st.integers(0, 1440), max_size=6).map(_spans)
HOURS = st.builds(
    Hours,
    st.sampled_from([BERLIN, "America/New_York", "Asia/Tehran", "Australia/Lord_Howe", "Europe/Istanbul", "UTC"]),
    st.tuples(*[DAY] * 7).filter(any),
    st.frozensets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=5),
)
MOMENTS = st.integers(0, 365 * 86_400).map(lambda second: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second))
SECONDS = st.integers(1, 40 * 3600)


@given(HOURS, MOMENTS, SECONDS)
def test_a_due_time_is_never_in_closed_time_and_spends_exactly_the_threshold(
    hours: Hours, start: datetime, seconds: int
) -> None:
    due = due_at(hours, start, seconds)
    assert is_open(hours, due - timedelta(microseconds=1))
    assert open_seconds(hours, start, due) == pytest.approx(seconds, abs=1e-6)
    assert is_open(hours, next_open(hours, start))


@given(HOURS, MOMENTS, SECONDS, SECONDS)
def test_spending_in_two_steps_is_spending_at_once(hours: Hours, start: datetime, first: int, second: int) -> None:
    assert due_at(hours, due_at(hours, start, first), second) == due_at(hours, start, first + second)
