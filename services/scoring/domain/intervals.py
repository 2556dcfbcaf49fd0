"""Confidence intervals and tests of a change. Sources: domain.md's formulas as given there (Rocks 2016 for NPS),
Agresti & Coull 1998 for shares, Student and Welch for means."""

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_TINY = 1e-300


def normal_quantile(level: float) -> float:
    """z of a two-sided interval: 0.95 gives 1.95996…"""
    return _NORMAL.inv_cdf((1 + level) / 2)


def two_sided_p(z: float) -> float:
    """How likely a deviation of at least |z| standard errors is by chance."""
    return math.erfc(abs(z) / math.sqrt(2))


def net_promoter_adjusted(n: int, promoters: int, detractors: int) -> tuple[float, float]:
    """(centre, standard error) of NPS by adjusted Wald, on −100 … 100: ¾ of an answer is added to promoters and
    detractors each, 3 answers to n."""
    size = n + 3
    p, d = (promoters + 0.75) / size, (detractors + 0.75) / size
    return 100 * (p - d), 100 * math.sqrt((p + d - (p - d) ** 2) / size)


def share_adjusted(n: int, hits: int, level: float) -> tuple[float, float]:
    """(centre, standard error) of a share in percent by Agresti and Coull: z² answers are added, half of them hits."""
    extra = normal_quantile(level) ** 2
    size = n + extra
    p = (hits + extra / 2) / size
    return 100 * p, 100 * math.sqrt(p * (1 - p) / size)


def normal_interval(centre: float, error: float, level: float, low: float, high: float) -> tuple[float, float]:
    """centre ± z · error, clipped to low … high."""
    margin = normal_quantile(level) * error
    return max(low, centre - margin), min(high, centre + margin)


def mean_interval(n: int, mean: float, variance: float, level: float) -> tuple[float, float] | None:
    """mean ± t · √(variance / n); None below two answers, where nothing is known about the spread."""
    if n < 2:
        return None
    margin = t_quantile((1 + level) / 2, n - 1) * math.sqrt(variance / n)
    return mean - margin, mean + margin


def z_test(centre: float, error: float, other_centre: float, other_error: float) -> float:
    """Two-sided p-value of the difference of two adjusted values with their standard errors."""
    return two_sided_p((centre - other_centre) / math.hypot(error, other_error))


def welch_test(n: int, mean: float, variance: float, n2: int, mean2: float, variance2: float) -> float | None:
    """Two-sided p-value of the difference of two means with unequal variances; None where the spread is unknown
    (fewer than two answers on a side, or all answers of both sides equal while the means differ)."""
    if n < 2 or n2 < 2:
        return None
    part, part2 = variance / n, variance2 / n2
    error = part + part2
    if error == 0:
        return 1.0 if mean == mean2 else None
    degrees = error**2 / (part**2 / (n - 1) + part2**2 / (n2 - 1))
    return 2 * t_tail(abs(mean - mean2) / math.sqrt(error), degrees)


def t_tail(t: float, degrees: float) -> float:
    """P(T > t) of Student's t, for t ≥ 0."""
    return 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t))


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: float) -> float:
    """The t with P(T ≤ t) = probability, for probability ≥ ½. Bisection on the tail: good to 1e-9, and never astray."""
    tail = 1 - probability
    if tail >= 0.5:
        return 0.0
    low, high = 0.0, 2.0
    while t_tail(high, degrees) > tail:
        low, high = high, high * 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if t_tail(middle, degrees) > tail else (low, middle)
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Regularised incomplete beta I_x(a, b) with y = 1 − x (given apart, because 1 − x would lose digits)."""
    if x <= 0:
        return 0.0
    if y <= 0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, y) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 + step * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + step / c
            c = c if abs(c) > _TINY else _TINY
            value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value
