"""From rows to sums: what rows add to which series in which hour, in exact integers, many rows at a time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.scoring.domain.answers import MICRO, Question
from services.scoring.domain.windows import HOURS_A_DAY

Ints = NDArray[np.int64]
# Hours since 1970 lie within ± this: a calendar has years 1 to 9999.
_HOUR_BITS = 28
_HOUR_SHIFT = 1 << (_HOUR_BITS - 1)
# Products that stay below may be added as machine integers.
_EXACT = 2**62
MICROSECONDS_AN_HOUR = 3_600_000_000


class Cells(NamedTuple):
    """Sums of rows that share origin, question and hour. `total` is in millionths and `squares` in millionths of
    millionths, for means; both hold Python integers where machine integers are too small."""

    origin: Ints
    question: Ints
    hour: Ints
    n: Ints
    top: Ints
    bottom: Ints
    total: NDArray[Any]
    squares: NDArray[Any]


class DaySums(NamedTuple):
    """What is added to the sums of a series and measure on a day, hour by hour: `counts` is 24 × (n, top, bottom),
    `sums` is 24 × (total, squares) or None where the measure is no mean."""

    series: int
    measure: int
    day: int
    counts: Ints
    sums: NDArray[np.object_] | None


class DayRow(NamedTuple):
    """The sums of a day by hour: `counts` is 24 × (n, top, bottom), `sums` 24 × (total, squares) for a mean."""

    counts: Ints
    sums: Any

    def plus(self, counts: Ints, sums: Any) -> "DayRow":
        """With more in it."""
        both = self.sums if sums is None else sums if self.sums is None else self.sums + sums
        return DayRow(self.counts + counts, both)


def hours_of(at: Ints, offset_microseconds: int) -> Ints:
    """Hours of a grid (windows.py) that microseconds since 1970 lie in."""
    return (at + offset_microseconds) // MICROSECONDS_AN_HOUR


def cells_of(
    origin: Ints, question: Ints, hour: Ints, value: NDArray[np.float64], sign: Ints, questions: Sequence[Question]
) -> Cells:
    """Sums of rows; `sign` is 1 for what is counted and −1 for what is taken back, `question` −1 counts nothing."""
    asked = question >= 0
    if not asked.all():
        origin, question, hour, sign = (column[asked] for column in (origin, question, hour, sign))
        value = value[asked]
    bands = np.array([one.bands() for one in questions]).reshape(-1, 2)
    is_mean = np.array([one.formula == "mean" for one in questions], dtype=bool)
    key = (origin * len(questions) + question << _HOUR_BITS) + hour + _HOUR_SHIFT
    order = np.argsort(key, kind="stable")
    key, question, value, sign = key[order], question[order], value[order], sign[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    micro = np.where(is_mean[question], np.rint(value * MICRO), 0).astype(np.int64)
    total, squares = _moments(micro, sign, starts)
    pair = key[starts] >> _HOUR_BITS
    return Cells(
        pair // max(1, len(questions)),
        pair % max(1, len(questions)),
        (key[starts] & (1 << _HOUR_BITS) - 1) - _HOUR_SHIFT,
        _added(sign, starts),
        _added(sign * (value >= bands[question, 0]), starts),
        _added(sign * (value <= bands[question, 1]), starts),
        total,
        squares,
    )


def _added(amounts: NDArray[Any], starts: NDArray[np.intp]) -> NDArray[Any]:
    return np.add.reduceat(amounts, starts) if len(starts) else amounts[:0]


def _moments(micro: Ints, sign: Ints, starts: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[Any]]:
    most = int(np.abs(micro).max(initial=0))
    values: NDArray[Any] = micro if most * most * len(micro) < _EXACT else micro.astype(object)
    return _added(sign * values, starts), _added(sign * values * values, starts)


def by_day(
    cells: Cells, series_of: Callable[[int, int], Sequence[int]], measures: Sequence[int], means: set[int]
) -> list[DaySums]:
    """Cells over the series that each belongs to: `series_of(origin, question)` are numbers of series, `measures` the
    number of each question's measure, `means` the measures that are means."""
    where, series = _spread(cells, series_of)
    if not len(where):
        return []
    measure = np.array(measures, dtype=np.int64)[cells.question[where]]
    day, hour = np.divmod(cells.hour[where], HOURS_A_DAY)
    key = (series * (int(measure.max()) + 1) + measure << _HOUR_BITS) + day + _HOUR_SHIFT
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    counts = np.zeros((len(first), HOURS_A_DAY, 3), dtype=np.int64)
    np.add.at(counts, (place, hour), np.stack([cells.n, cells.top, cells.bottom], axis=1)[where])
    sums = _day_moments(cells, where, place, hour, len(first)) if means.intersection(measure.tolist()) else None
    return [
        DaySums(
            int(series[at]),
            int(measure[at]),
            int(day[at]),
            counts[number],
            sums[number] if sums is not None and int(measure[at]) in means else None,
        )
        for number, at in enumerate(first)
    ]


def _spread(cells: Cells, series_of: Callable[[int, int], Sequence[int]]) -> tuple[NDArray[np.intp], Ints]:
    """(cell, series) pairs: every cell once for each series it belongs to. Cells of an origin and question are
    neighbours."""
    where: list[NDArray[np.intp]] = []
    series: list[Ints] = []
    pair = np.stack([cells.origin, cells.question])
    starts = np.flatnonzero(np.any(np.diff(pair, prepend=-2), axis=0))
    for start, end in zip(starts, np.append(starts, len(cells.n))[1:], strict=True):
        mine = series_of(int(cells.origin[start]), int(cells.question[start]))
        where.append(np.tile(np.arange(start, end), len(mine)))
        series.append(np.repeat(np.array(mine, dtype=np.int64), end - start))
    if not where:
        return np.empty(0, np.intp), np.empty(0, np.int64)
    return np.concatenate(where), np.concatenate(series)


def _day_moments(
    cells: Cells, where: NDArray[np.intp], place: NDArray[np.intp], hour: Ints, days: int
) -> NDArray[np.object_]:
    sums = np.zeros((days, HOURS_A_DAY, 2), dtype=object)
    moments = np.stack([cells.total.astype(object), cells.squares.astype(object)], axis=1)
    np.add.at(sums, (place, hour), moments[where])
    return sums
