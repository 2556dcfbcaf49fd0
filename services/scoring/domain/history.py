"""One series by day: sums by the hour, laid end to end, and the days and windows that are asked of it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from services.scoring.domain.counting import DayRow
from services.scoring.domain.repeats import RepeatKey
from services.scoring.domain.scores import NOTHING, Score, Tally, score_by
from services.scoring.domain.windows import HOURS_A_DAY, Bounds
from shared.core.errors import Fault, InvalidInput

MOST_DAYS = 400
DEFAULT_DAYS = 90
_FIRST_YEAR = 1971


class Line:
    """The hours of the days `first` … `last`, added up from the left, so that any range is one subtraction."""

    def __init__(
        self,
        first: int,
        last: int,
        rows: Iterable[tuple[int, str, DayRow]],
        repeated: Sequence[tuple[RepeatKey, Tally]] = (),
    ) -> None:
        hours = (last - first + 1) * HOURS_A_DAY
        laid: dict[str, NDArray[np.object_]] = defaultdict(lambda: np.zeros((hours + 1, 5), dtype=object))
        for day, measure, row in rows:
            at = slice((day - first) * HOURS_A_DAY + 1, (day - first + 1) * HOURS_A_DAY + 1)
            laid[measure][at, :3] = row.counts
            if row.sums is not None:
                laid[measure][at, 3:] = row.sums
        self._first = first * HOURS_A_DAY
        self._repeated = repeated
        self._added = {measure: np.cumsum(sums, axis=0) for measure, sums in laid.items()}

    def totals(self) -> dict[str, Tally]:
        """All of it, by measure."""
        return {measure: _tally(sums[-1]) for measure, sums in self._added.items()}

    def between(self, measure: str, start: int, end: int) -> Tally:
        """The hours from `start` to before `end`."""
        sums = self._added.get(measure)
        if sums is None:
            return NOTHING
        total = _tally(sums[end - self._first] - sums[start - self._first])
        for key, tally in self._repeated:
            if key.measure == measure and start <= key.earlier and key.later < end:
                total = total.minus(tally)
        return total

    def score(self, measure: str, span: Bounds, minimum_n: int) -> Score:
        """The score of the hours of `span`."""
        score = score_by(measure, self.between(measure, span.start, span.end), None, minimum_n)
        return score.with_uncounted(lambda beside: self.between(beside, span.start, span.end).n)


def _tally(sums: NDArray[np.object_]) -> Tally:
    return Tally(*(int(one) for one in sums))


def days_asked(first: date | None, last: date | None, today: date) -> list[date]:
    """The days from `first` to `last`. Raises InvalidInput."""
    end = last or today
    try:
        start = first or end - timedelta(days=DEFAULT_DAYS - 1)
        days = (end - start).days + 1
    except OverflowError:
        days, start = 0, end
    if not 1 <= days <= MOST_DAYS or start.year < _FIRST_YEAR or end.year > today.year + 1:
        fault = Fault("query.from", f"from is not after to, at most {MOST_DAYS} days, from {_FIRST_YEAR} on")
        raise InvalidInput("The period cannot be answered.", faults=[fault])
    return [start + timedelta(days=n) for n in range(days)]
