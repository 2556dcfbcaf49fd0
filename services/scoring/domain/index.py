"""Where the present version of each feedback stands: 16 bytes an answer in memory, found by a hash of its id.

Sorted arrays, each several times as long as the next, so that adding costs little and looking up is a few searches
(a log-structured merge tree, O'Neil et al. 1996). A hash is half an id: whoever finds a row compares the whole.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
_GROWTH = 4


class AnswerIndex:
    """Hash → row numbers."""

    def __init__(self) -> None:
        self._levels: list[tuple[Hashes, Places]] = []

    def __len__(self) -> int:
        return sum(len(hashes) for hashes, _ in self._levels)

    def find(self, hashes: Hashes) -> tuple[NDArray[np.intp], Places]:
        """Pairs of (position in `hashes`, which are sorted; row that has this hash). Ids may share a hash: rarely more
        than one row each."""
        positions: list[NDArray[np.intp]] = []
        rows: list[Places] = []
        for kept, places in self._levels:
            first = np.searchsorted(kept, hashes)
            hits = np.flatnonzero(kept[np.minimum(first, len(kept) - 1)] == hashes)
            while len(hits):
                positions.append(hits)
                rows.append(places[first[hits]])
                first[hits] += 1  # the same hash may follow
                hits = hits[first[hits] < len(kept)]
                hits = hits[kept[first[hits]] == hashes[hits]]
        if not positions:
            return np.empty(0, np.intp), np.empty(0, np.int64)
        return np.concatenate(positions), np.concatenate(rows)

    def add(self, hashes: Hashes, rows: Places) -> None:
        """Add rows; `hashes` are sorted."""
        if not len(hashes):
            return
        self._levels.append((hashes, rows))
        while len(self._levels) > 1 and len(self._levels[-2][0]) < _GROWTH * len(self._levels[-1][0]):
            self._levels.append(_merged(*self._levels.pop(-2), *self._levels.pop()))

    def move(self, found: Iterator[tuple[int, int, int]]) -> None:
        """For each (hash, old row, new row): the new row takes the place of the old."""
        for hash_, old, new in found:
            for kept, places in self._levels:
                first = int(np.searchsorted(kept, np.uint64(hash_)))
                while first < len(kept) and kept[first] == hash_:
                    if places[first] == old:
                        places[first] = new
                    first += 1


def _merged(hashes: Hashes, rows: Places, more: Hashes, more_rows: Places) -> tuple[Hashes, Places]:
    together = np.concatenate([hashes, more])
    order = np.argsort(together, kind="stable")  # two sorted runs: a merge
    return together[order], np.concatenate([rows, more_rows])[order]
