"""Many tests in one run (Benjamini & Hochberg 1995), and the same customers asked twice."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.scoring.domain.intervals import normal_quantile
from shared.contracts.feedback_received import Band

BANDS: tuple[Band, ...] = ("detractor", "passive", "promoter")
_STEP: dict[Band, int] = {"detractor": -1, "passive": 0, "promoter": 1}


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Of each p-value the least false discovery rate at which its test is still among the discoveries: those at most
    q are the discoveries of a run in which at most a share q of them are expected to be false."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at], reverse=True)
    found, least = [1.0] * len(p_values), 1.0
    for above, at in enumerate(order):
        least = min(least, p_values[at] * len(p_values) / (len(p_values) - above))
        found[at] = least
    return found


class Paired(NamedTuple):
    """What customers who answered in two waves did between them: `transitions[before][after]` counts them in the order
    of BANDS, `change` is in points of NPS with its interval, which takes two customers at least."""

    n: int
    transitions: list[list[int]]
    change: float | None
    low: float | None
    high: float | None


def paired(bands: Iterable[tuple[Band, Band]], level: float = 0.95) -> Paired:
    """Compare the same customers before and after: the mean of their individual changes on −1, 0, +1 is the change of
    their NPS, and varies less than the difference of two groups (interval 100 · sd / √m)."""
    transitions = [[0, 0, 0] for _ in BANDS]
    for before, after in bands:
        transitions[BANDS.index(before)][BANDS.index(after)] += 1
    steps = [
        (_STEP[after] - _STEP[before], transitions[row][column])
        for row, before in enumerate(BANDS)
        for column, after in enumerate(BANDS)
    ]
    n = sum(count for _, count in steps)
    if not n:
        return Paired(0, transitions, None, None, None)
    mean = sum(step * count for step, count in steps) / n
    if n == 1:
        return Paired(1, transitions, 100 * mean, None, None)
    variance = sum((step - mean) ** 2 * count for step, count in steps) / (n - 1)
    margin = normal_quantile(level) * 100 * math.sqrt(variance / n)
    return Paired(n, transitions, 100 * mean, max(-200, 100 * mean - margin), min(200, 100 * mean + margin))
