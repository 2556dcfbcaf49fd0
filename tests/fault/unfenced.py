"""What the fence keeps out, let in: for showing that the suite notices.

The real one has three walls, and each alone holds a zombie off: the epoch of the member, the offset that it believes
to be next, and the claim of event ids. Taking one away changes nothing that can be seen; so all three go.
"""

from collections.abc import Sequence
from uuid import UUID

from shared.db.unit_of_work import UnitOfWork
from shared.runtime import positions
from shared.runtime.positions import Move, Positions

assert positions._FENCE in positions._ADVANCE, "positions.py changed: say here anew what the fence is"
_ADVANCE = positions._ADVANCE.replace(positions._FENCE, "")


class UnfencedPositions(Positions):
    """Positions that move whoever owns them, and repeats that are not looked for."""

    async def advance(self, uow: UnitOfWork, moves: Sequence[Move], ids: Sequence[UUID]) -> set[UUID]:
        """Ask nobody; everything is new."""
        await self._move(uow, moves, [], _ADVANCE)
        return set(ids)
