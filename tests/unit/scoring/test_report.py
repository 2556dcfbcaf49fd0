"""Quarters, and the pure parts of the quarterly report."""

from datetime import date

import pytest

from services.scoring.domain.report import Quarter, recovery_of, voices
from services.scoring.domain.scores import Tally
from shared.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("day", "text", "first"),
    [
        (date(2026, 1, 1), "2026-Q1", date(2026, 1, 1)),
        (date(2026, 3, 31), "2026-Q1", date(2026, 1, 1)),
        (date(2026, 4, 1), "2026-Q2", date(2026, 4, 1)),
        (date(2026, 12, 31), "2026-Q4", date(2026, 10, 1)),
    ],
)
def test_a_day_has_its_quarter(day: date, text: str, first: date) -> None:
    quarter = Quarter.of(day)
    assert (str(quarter), quarter.first) == (text, first)
    assert Quarter.read(text, "quarter") == quarter


def test_quarters_are_counted_over_the_years() -> None:
    assert [str(Quarter(2026, 1).moved(by)) for by in (-4, -1, 0, 1, 3, 4)] == [
        *("2025-Q1", "2025-Q4", "2026-Q1", "2026-Q2", "2026-Q4", "2027-Q1"),
    ]


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-Q5", "2026-Q0", "26-Q1", "2026-q1", "2026-Q1 ", "1969-Q4", "99999-Q1"]
)
def test_what_is_no_quarter_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Quarter.read(text, "body.quarter")
    assert [fault.path for fault in refused.value.faults] == ["body.quarter"]


def test_a_share_that_changed_by_chance_is_not_called_real() -> None:
    def said(n: int) -> dict[str, Tally]:
        return {"sentiment": Tally(n, 0, n)}

    whole = (said(200), said(200))
    [large, small] = voices({"price": (said(100), said(40)), "bug": (said(20), said(17))}, whole)
    assert (large.issue, large.share, large.change, large.real) == ("price", 50.0, 30.0, True)
    assert (small.issue, small.share, small.change, small.real) == ("bug", 10.0, 1.5, False)
    [alone] = voices({"price": (said(100), {})}, (said(200), {}))
    assert (alone.change, alone.real) == (None, False)


def test_recovery_knows_how_little_a_few_cases_say() -> None:
    few, many = recovery_of(4, 3, 2), recovery_of(400, 300, 200)
    assert few.rate == many.rate == 50.0
    assert few.interval is not None
    assert many.interval is not None
    assert few.interval.high - few.interval.low > 4 * (many.interval.high - many.interval.low)
    assert recovery_of(0, 0, 0).rate is None
