"""Which version of a feedback counts: the highest revision, and a removal wins over the revision it names."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.scoring.domain.answers import Rows, ids_of
from services.scoring.domain.index import Hashes

Rank = tuple[int, int]


class Contest(NamedTuple):
    """The outcome for fresh versions: which of them do not count (`dead`), and which take the place of a stored one
    (fresh version → row of the stored one). Fresh versions are named by the position of their first row."""

    dead: list[int]
    replaced: dict[int, int]


def repeated(hashes: Hashes) -> NDArray[np.bool_]:
    """Which of these sorted hashes stand there more than once."""
    found = np.zeros(len(hashes), dtype=bool)
    same = hashes[1:] == hashes[:-1]
    found[1:] |= same
    found[:-1] |= same
    return found


def contest(rows: Rows, versions: Iterable[int], stored: Mapping[UUID, tuple[int, Rank]]) -> Contest:
    """Let fresh versions (positions of first rows, in the order they came) and what is stored of the same feedback
    (id → row and rank) compete. Of equals the first counts."""
    at = np.fromiter(versions, dtype=np.intp)
    ranks = zip(rows["revision"][at].tolist(), rows["removed"][at].tolist(), strict=True)
    winners: dict[UUID, tuple[int | None, Rank]] = {key: (None, rank) for key, (_, rank) in stored.items()}
    dead: list[int] = []
    for position, key, rank in zip(at.tolist(), ids_of(rows[at]), ranks, strict=True):
        held, best = winners.get(key, (None, None))
        if best is not None and rank <= best:
            dead.append(position)
            continue
        if held is not None:
            dead.append(held)
        winners[key] = (position, rank)
    replaced = {held: stored[key][0] for key, (held, _) in winners.items() if held is not None and key in stored}
    return Contest(dead, replaced)
