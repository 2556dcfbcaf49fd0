"""What the fence keeps out, let in: for showing that the suite notices.

The real one has three walls, and each alone holds a zombie off: the epoch of the member, the offset that it believes
to be next, and the claim of event ids. Taking one away changes nothing that can be seen; so all three go.
"""

from collections.abc import Sequence
from uuid import UUID

from shared.bus.port import TopicPartition
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import positions
from shared.runtime.positions import Position, Positions

_CONDITION = "\n  and epoch = :epoch and next_offset = :before"
assert positions._MOVE.endswith(_CONDITION), "positions.py changed: say here anew what the fence is"
_MOVE = positions._MOVE.removesuffix(_CONDITION)


class UnfencedPositions(Positions):
    """A position that moves whoever owns it, and repeats that are not looked for."""

    async def move(self, uow: UnitOfWork, partition: TopicPartition, position: Position, after: int) -> None:
        """Ask nobody."""
        where = {"topic": partition.topic, "partition": partition.partition}
        await uow.execute(_MOVE, {"group": self._group, "after": after, **where})

    async def claim(self, uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
        """Everything is new."""
        return set(ids)
