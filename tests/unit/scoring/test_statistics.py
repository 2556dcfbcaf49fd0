"""Significance over many series, drivers of a change, paired waves, targets: against worked examples and scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.scoring.domain.drivers import Part, contributions
from services.scoring.domain.significance import BANDS, adjusted, paired
from services.scoring.domain.targets import Outlook, reach

bands = st.sampled_from(BANDS)


@given(st.lists(st.floats(0, 1), max_size=40))
def test_adjusted_p_values_are_those_of_benjamini_and_hochberg(p_values: list[float]) -> None:
    expected = stats.false_discovery_control(p_values) if p_values else []
    assert adjusted(p_values) == pytest.approx(list(expected))


def test_a_worked_run() -> None:
    """Benjamini & Hochberg 1995, section 4: of fifteen tests four are discoveries at 5 %, Bonferroni has three."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    assert sum(q <= 0.05 for q in adjusted(p)) == 4
    assert sum(one <= 0.05 / len(p) for one in p) == 3


@given(st.lists(st.tuples(bands, bands), min_size=2, max_size=60))
def test_paired_customers_are_a_one_sample_mean(pairs: list[tuple[str, str]]) -> None:
    steps = np.array([BANDS.index(after) - BANDS.index(before) for before, after in pairs])  # type: ignore[arg-type]
    found = paired(pairs)  # type: ignore[arg-type]
    assert found.n == len(pairs)
    assert sum(map(sum, found.transitions)) == len(pairs)
    assert found.change == pytest.approx(100 * steps.mean())
    margin = stats.norm.ppf(0.975) * 100 * stats.sem(steps)
    assert (found.low, found.high) == (
        pytest.approx(max(-200, 100 * steps.mean() - margin)),
        pytest.approx(min(200, 100 * steps.mean() + margin)),
    )
    # The same customers' NPS before and after differ by exactly this change.
    before = sum(sum(found.transitions[row]) * (row - 1) for row in range(3))
    after = sum(found.transitions[row][column] * (column - 1) for row in range(3) for column in range(3))
    assert found.change == pytest.approx(100 * (after - before) / len(pairs))


def test_transitions_are_counted_before_by_after() -> None:
    found = paired(
        [("detractor", "promoter"), ("promoter", "detractor"), ("promoter", "detractor"), ("passive", "passive")]
    )
    assert found.transitions == [[0, 0, 1], [0, 1, 0], [2, 0, 0]]
    assert found.change == pytest.approx(-50)
    assert paired([]).change is None
    assert paired([("passive", "promoter")]) == (1, [[0, 0, 0], [0, 0, 1], [0, 0, 0]], 100, None, None)


parts = st.dictionaries(
    st.sampled_from("abcdef"), st.builds(Part, st.integers(0, 200), st.floats(-100, 100)), min_size=1
)


@given(parts, parts)
def test_contributions_add_up_to_the_change(before: dict[str, Part], now: dict[str, Part]) -> None:
    def total(side: dict[str, Part]) -> float:
        return sum(part.n * part.value for part in side.values()) / sum(part.n for part in side.values())

    found = contributions(before, now)
    if not sum(part.n for part in before.values()) or not sum(part.n for part in now.values()):
        assert found == {}
        return
    assert sum(one.points for one in found.values()) == pytest.approx(total(now) - total(before), abs=1e-9)
    assert list(found.values()) == sorted(found.values(), key=lambda one: -abs(one.points))


def test_a_worked_change() -> None:
    """Web falls from 40 to 20 and store stays at 60, while the share of web grows from a half to three quarters."""
    found = contributions({"web": Part(50, 40), "store": Part(50, 60)}, {"web": Part(75, 20), "store": Part(25, 60)})
    # totals 50 and 30, their middle 40: web rate −20 · 0.625, mix 0.25 · (30 − 40); store mix −0.25 · (60 − 40)
    assert found["web"] == pytest.approx((-12.5, -2.5))
    assert found["store"] == pytest.approx((0, -5))
    new = contributions({"web": Part(50, 40)}, {"web": Part(50, 40), "app": Part(50, 0)})
    assert new["app"] == pytest.approx((0, 0.5 * (0 - 30)))
    assert sum(one.points for one in new.values()) == pytest.approx(-20)


def test_what_a_target_takes() -> None:
    # 200 answers, NPS 30; 40 is 10 points more: 20 detractors as passives, or 10 as promoters.
    found = reach(200, 100, 40, 40, Outlook(200, 30.0, 0))
    assert found == (200, 20, 10, 0.0)
    assert reach(200, 100, 40, 30, Outlook(200, 30.0, 0)) == (200, 0, 0, 1.0)
    # 40 detractors are 20 points as passives and 40 as promoters.
    assert reach(200, 100, 40, 65, Outlook(200, 30.0, 0))[1:3] == (None, 35)
    assert reach(0, 0, 0, 65, Outlook(0, 0.0, 100)) == (0, None, None, 0.0)


@pytest.mark.parametrize("target", [20, 25, 29, 33, 40])
def test_odds_are_those_of_a_simulation(target: float) -> None:
    dice = np.random.default_rng(7)
    n, promoters, detractors, kept_n, kept_value, coming = 400, 200, 80, 100, 24.0, 300
    odds = reach(n, promoters, detractors, target, Outlook(kept_n, kept_value, coming)).odds
    # The rate is uncertain as after n answers with a flat start, the answers to come are drawn from it.
    rates = dice.dirichlet([promoters + 0.75, n - promoters - detractors + 1.5, detractors + 0.75], size=40_000)
    drawn = np.array([dice.multinomial(coming, rate) for rate in rates])
    score = (kept_n * kept_value + 100 * (drawn[:, 0] - drawn[:, 2])) / (kept_n + coming)
    assert odds == pytest.approx((score >= target).mean(), abs=0.02)
    assert math.isfinite(odds)
