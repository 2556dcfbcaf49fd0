"""One answer per person and survey in a window: what is taken out of its sums again.

Of several answers of one person to one survey the latest in a window counts. So an answer does not count in a window
that holds the next one too: for each such pair of neighbours (earlier, later) the earlier one is taken out of every
window with both. A window is over hours, and so are the sums of pairs; whatever the window, they are exact.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from services.scoring.domain.scores import NOTHING, Tally

Person = tuple[UUID, str, str]
"""Person, survey, metric: whose answers stand in for each other."""


class Given(NamedTuple):
    """An answer of a person, in the order in which they count: by time, then by feedback."""

    at: int
    feedback: UUID
    hour: int
    measure: str
    tally: Tally
    series: tuple[str, ...]


class RepeatKey(NamedTuple):
    """Where sums of pairs are stored: the series and measure of the earlier answer, and the hours of both."""

    series: str
    measure: str
    earlier: int
    later: int


def neighbours(given: Iterable[Given]) -> list[tuple[Given, Given]]:
    """Each answer with the next one."""
    return list(pairwise(sorted(given, key=lambda one: (one.at, one.feedback.int))))


def moved(before: Mapping[Person, Iterable[Given]], after: Mapping[Person, Iterable[Given]]) -> dict[RepeatKey, Tally]:
    """What is added to the sums of pairs when the answers of persons become others."""
    change: Counter[tuple[Given, Given]] = Counter()
    for person in before.keys() | after.keys():
        change.subtract(neighbours(before.get(person, ())))
        change.update(neighbours(after.get(person, ())))
    found: dict[RepeatKey, Tally] = {}
    for (earlier, later), times in change.items():
        for key in _keys(earlier, later) if times else ():
            found[key] = found.get(key, NOTHING).plus(Tally(*(times * part for part in earlier.tally)))
    return {key: tally for key, tally in found.items() if tally != NOTHING}


def _keys(earlier: Given, later: Given) -> Iterator[RepeatKey]:
    return (RepeatKey(series, earlier.measure, earlier.hour, later.hour) for series in earlier.series)
