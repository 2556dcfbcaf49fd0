"""Where a group stands, and the fence: a member that lost its partition, even without noticing, changes nothing.

Position and effects move in one transaction; the update that moves the position names the epoch that this member got
when it was assigned. A frozen member that wakes up after another took over matches no row, and its transaction ends.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from shared.bus.port import TopicPartition
from shared.core.errors import CloseloopError
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork

_ACQUIRE = """
insert into consumer_position (group_name, topic, partition, epoch, owner, next_offset)
select :group, topic, partition, 1, :owner, first_offset
from unnest(cast(:topics as text[]), cast(:partitions as int[]), cast(:first_offsets as bigint[]))
    as wanted (topic, partition, first_offset)
order by topic, partition
on conflict (group_name, topic, partition)
do update set epoch = consumer_position.epoch + 1, owner = excluded.owner
returning topic, partition, epoch, next_offset"""
_MOVE = """
update consumer_position set next_offset = :after, moved_at = clock_timestamp()
where group_name = :group and topic = :topic and partition = :partition
  and epoch = :epoch and next_offset = :before"""
_READ = """
select epoch, next_offset from consumer_position
where group_name = :group and topic = :topic and partition = :partition"""
_CLAIM = """
insert into processed_event (group_name, event_id)
select :group, unnest(cast(:ids as uuid[])) on conflict do nothing returning event_id"""


class Fenced(CloseloopError):
    """Another member owns the partition now; everything of this batch is taken back."""

    title = "Fenced"


class Position:
    """This member's claim on a partition."""

    __slots__ = ("epoch", "next_offset")

    def __init__(self, epoch: int, next_offset: int) -> None:
        self.epoch = epoch
        self.next_offset = next_offset


class Positions:
    """SQL of consumer_position and processed_event for one group."""

    def __init__(self, database: Database, group: str, owner: str) -> None:
        self._database = database
        self._group = group
        self._owner = owner

    async def acquire(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
        """Take the partitions over (a new epoch); `starts` says where a group begins that has no position yet."""
        partitions = list(starts)
        async with self._database.unit_of_work() as uow:
            result = await uow.execute(
                _ACQUIRE,
                {
                    "group": self._group,
                    "owner": self._owner,
                    "topics": [partition.topic for partition in partitions],
                    "partitions": [partition.partition for partition in partitions],
                    "first_offsets": [starts[partition] for partition in partitions],
                },
            )
            rows = result.all()
        return {TopicPartition(row.topic, row.partition): Position(row.epoch, row.next_offset) for row in rows}

    async def move(self, uow: UnitOfWork, partition: TopicPartition, position: Position, after: int) -> None:
        """Move the position in the handler's transaction. Raises Fenced when the claim is not ours any more."""
        moved = await uow.execute(
            _MOVE,
            {
                "group": self._group,
                "topic": partition.topic,
                "partition": partition.partition,
                "epoch": position.epoch,
                "before": position.next_offset,
                "after": after,
            },
        )
        if moved.rowcount != 1:
            raise Fenced(f"{partition.topic}/{partition.partition} of {self._group} belongs to another member")

    async def claim(self, uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
        """Which of `ids` are processed here for the first time; they are from now on, if the transaction commits."""
        if not ids:
            return set()
        result = await uow.execute(_CLAIM, {"group": self._group, "ids": list(ids)})
        return {row.event_id for row in result}

    async def reread(self, partition: TopicPartition, position: Position) -> int | None:
        """After an unknown outcome: the next offset, or None when the partition is not ours any more."""
        async with self._database.reader() as reader:
            row = await reader.first(
                _READ, {"group": self._group, "topic": partition.topic, "partition": partition.partition}
            )
        return row.next_offset if row is not None and row.epoch == position.epoch else None
