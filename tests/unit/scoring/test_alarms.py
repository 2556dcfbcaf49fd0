"""When a change is real, when it is over, and what a silence is."""

import numpy as np
import pytest
from scipy import stats

from services.scoring.domain import alerts
from services.scoring.domain.scores import Tally
from tests.load.alarms import caught_drops, quiet_weeks

STEADY = Tally(400, 200, 80)


def test_the_rules_hold_in_a_small_simulation() -> None:
    """`make alarms` is the large one; the seed makes this one the same every time."""
    quiet = list(quiet_weeks(np.random.default_rng(3), series=15, weeks=4))
    caught = list(caught_drops(np.random.default_rng(3), series=15))
    assert sum(quiet) / len(quiet) < 0.1
    assert sum(days is not None for days in caught) >= 13


def test_a_look_adds_up_what_lies_between_its_edges() -> None:
    end = 500_000
    look = alerts.look_at("s", "nps", end, lambda start, stop: Tally(stop - start))
    assert {days: tally.n for days, tally in look.recent.items()} == {7: 7 * 24, 14: 14 * 24}
    assert {tally.n for tally in look.base.values()} == {56 * 24}


def test_among_many_series_one_needs_more_evidence() -> None:
    def look(series: str, recent: Tally) -> alerts.Look:
        base = Tally(3200, 1600, 640)
        return alerts.Look(series, "nps", dict.fromkeys((7, 14), recent), dict.fromkeys((7, 14), base))

    doubtful = look("doubtful", Tally(400, 176, 104))  # 12 points down, p about 0.003
    clear = look("clear", Tally(400, 120, 160))
    [alone] = alerts.changes([clear], 30)
    assert (alone.series, alone.kind) == ("clear", "drop")
    steady = [look(f"steady {n}", STEADY) for n in range(200)]
    [found] = alerts.changes([doubtful, clear, *steady], 30)
    assert found.series == "clear"
    assert found.p_value > alone.p_value
    assert alerts.changes([look("few", Tally(20, 0, 20))], 30) == []


def test_an_alert_ends_when_nothing_is_left_of_it_or_it_turns() -> None:
    base = Tally(3200, 1600, 640)
    assert not alerts.has_ended("drop", "nps", Tally(400, 120, 160), base)
    assert alerts.has_ended("drop", "nps", STEADY, base)
    assert alerts.has_ended("drop", "nps", Tally(400, 360, 10), base)
    assert not alerts.has_ended("rise", "nps", Tally(400, 360, 10), base)
    assert not alerts.has_ended("drop", "nps", Tally(), base)


@pytest.mark.parametrize("usual", [[40] * 8, [30, 52, 41, 38, 47, 33, 44, 39], [12, 9, 15, 11, 10, 8, 13, 14]])
def test_silence_is_the_tail_of_a_negative_binomial(usual: list[int]) -> None:
    mean = sum(usual) / 8
    variance = max(mean, float(np.var(usual, ddof=1))) * (1 + 1 / 8)
    size = mean**2 / (variance - mean)
    for count in range(int(mean) + 1):
        expected = stats.nbinom.cdf(count, size, size / (size + mean)) < alerts.SILENCE_ODDS
        assert alerts.is_silent(count, usual) == expected, count


def test_what_is_no_silence() -> None:
    assert alerts.is_silent(0, [40] * 8)
    assert not alerts.is_silent(0, [40] * 7)  # too short a past
    assert not alerts.is_silent(0, [5] * 8)  # a small series is often empty
    assert not alerts.is_silent(0, [0, 0, 0, 0, 90, 90, 90, 90])  # who can tell what is usual
    assert not alerts.is_silent(45, [40] * 8)
