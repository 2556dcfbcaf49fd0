"""How far a target is away, what it would take, and how likely it is at the present rates."""

import math
from typing import NamedTuple

from services.scoring.domain import intervals


class Outlook(NamedTuple):
    """What a window will be like on the day of its target: `kept` answers of today are still in it, `coming` more are
    expected."""

    kept_n: int
    kept_value: float
    coming: float


class Reach(NamedTuple):
    """`to_passive` and `to_promoter`: so many of the detractors expected in the window would have to be one instead;
    None where all of them together are too few. `odds`: that the target is met if rates stay as they are."""

    expected_n: int
    to_passive: int | None
    to_promoter: int | None
    odds: float


def reach(n: int, promoters: int, detractors: int, target: float, outlook: Outlook) -> Reach:
    """For NPS. `n`, `promoters`, `detractors` are the present window, whose rates are carried on.

    Odds: the answers to come vary around a rate that is itself uncertain (adjusted Wald, as in the interval), those
    that are kept do not vary; the normal distribution of their weighted mean.
    """
    expected_n = outlook.kept_n + outlook.coming
    if expected_n <= 0 or n == 0:
        return Reach(0, None, None, 0.0)
    rate, error = intervals.net_promoter_adjusted(n, promoters, detractors)
    share = outlook.coming / expected_n
    mean = (1 - share) * outlook.kept_value + share * rate
    spread = share * math.hypot(error, error * math.sqrt(n / outlook.coming)) if outlook.coming else 0.0
    odds = 1 - _below(target, mean, spread)
    missing = target - mean
    available = expected_n * detractors / n
    to_passive, to_promoter = (_answers(missing, points, expected_n, available) for points in (100, 200))
    return Reach(round(expected_n), to_passive, to_promoter, odds)


def _answers(missing: float, points_each: float, expected_n: float, available: float) -> int | None:
    """How many answers that each bring so many points close the gap; None where there are not so many."""
    needed = max(0, math.ceil(missing * expected_n / points_each - 1e-9))
    return needed if needed <= available else None


def _below(target: float, mean: float, spread: float) -> float:
    if spread == 0:
        return float(mean < target)
    return 0.5 * math.erfc((mean - target) / spread / math.sqrt(2))
