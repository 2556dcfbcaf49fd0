"""Formulas against the worked examples of the literature and against scipy."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from services.scoring.domain import intervals


def test_net_promoter_with_50_promoters_and_20_detractors_of_100() -> None:
    centre, error = intervals.net_promoter_adjusted(100, 50, 20)
    assert (round(centre, 1), round(1.959964 * error, 1)) == (29.1, 15.1)


def test_ten_promoters_of_ten_still_have_a_margin() -> None:
    centre, error = intervals.net_promoter_adjusted(10, 10, 0)
    assert (round(centre, 1), round(1.959964 * error, 1)) == (76.9, 29.4)
    low, high = intervals.normal_interval(centre, error, 0.95, -100, 100)
    assert (round(low, 1), high) == (47.5, 100.0)


@pytest.mark.parametrize(("level", "z"), [(0.90, 1.645), (0.95, 1.960), (0.99, 2.576)])
def test_normal_quantiles(level: float, z: float) -> None:
    assert intervals.normal_quantile(level) == pytest.approx(z, abs=5e-4)
    assert intervals.normal_quantile(level) == pytest.approx(stats.norm.ppf((1 + level) / 2), abs=1e-12)


@pytest.mark.parametrize(("n", "hits"), [(1, 0), (10, 10), (64, 56), (1000, 3), (100_000, 50_000)])
def test_share_is_agresti_coull(n: int, hits: int) -> None:
    z = stats.norm.ppf(0.975)
    p = (hits + z**2 / 2) / (n + z**2)
    margin = z * np.sqrt(p * (1 - p) / (n + z**2))
    low, high = intervals.normal_interval(*intervals.share_adjusted(n, hits, 0.95), 0.95, 0, 100)
    assert low == pytest.approx(max(0, 100 * (p - margin)), abs=1e-9)
    assert high == pytest.approx(min(100, 100 * (p + margin)), abs=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4.5, 9, 29, 30.7, 119, 1000, 54_321, 1e6, 1e8])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9999])
def test_t_quantile_is_good_to_a_millionth(degrees: float, probability: float) -> None:
    assert intervals.t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-6)


@given(t=st.floats(0, 60), degrees=st.floats(1, 1e6))
@settings(max_examples=300, deadline=None)
def test_t_tail(t: float, degrees: float) -> None:
    assert intervals.t_tail(t, degrees) == pytest.approx(stats.t.sf(t, degrees), rel=1e-6, abs=1e-14)


def test_mean_interval_is_students() -> None:
    values = [5.0, 6.0, 7.0, 4.0, 6.5]
    mean, variance = float(np.mean(values)), float(np.var(values, ddof=1))
    expected = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
    assert intervals.mean_interval(len(values), mean, variance, 0.95) == pytest.approx(expected, rel=1e-9)
    assert intervals.mean_interval(1, 5.0, 0.0, 0.95) is None


@given(
    first=st.lists(st.integers(1, 7), min_size=2, max_size=40),
    second=st.lists(st.integers(1, 7), min_size=2, max_size=40),
)
@settings(max_examples=200, deadline=None)
def test_welch(first: list[int], second: list[int]) -> None:
    assume(len(set(first)) > 1 or len(set(second)) > 1)
    sides = [(len(side), float(np.mean(side)), float(np.var(side, ddof=1))) for side in (first, second)]
    (n, mean, variance), (n2, mean2, variance2) = sides
    expected = stats.ttest_ind_from_stats(mean, variance**0.5, n, mean2, variance2**0.5, n2, equal_var=False).pvalue
    found = intervals.welch_test(n, mean, variance, n2, mean2, variance2)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_welch_without_spread() -> None:
    assert intervals.welch_test(1, 5, 0, 9, 5, 1) is None
    assert intervals.welch_test(4, 5, 0, 9, 5, 0) == 1.0
    assert intervals.welch_test(4, 5, 0, 9, 6, 0) is None


@pytest.mark.parametrize("z", [0.0, 0.5, -1.959964, 4.0])
def test_two_sided_p(z: float) -> None:
    assert intervals.two_sided_p(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
