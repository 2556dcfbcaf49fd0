"""Where a group stands, and the fence: a member that lost its partition, even without noticing, changes nothing.

Positions and effects move in one transaction; the update that moves a position names the epoch that this member got
when it was assigned. A frozen member that wakes up after another took over matches no row, and its transaction ends.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
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
# What a move must find: the claim of this member, at the place where it believes to be. Who finds less than that for
# all its partitions claims nothing. Rows are locked in one order, so that two members cannot wait for each other.
_FENCE = " and held.epoch = wanted.epoch and held.next_offset = wanted.before"
_ADVANCE = f"""
with wanted as (
    select * from unnest(cast(:topics as text[]), cast(:partitions as int[]), cast(:epochs as bigint[]),
                         cast(:befores as bigint[]), cast(:afters as bigint[]))
        as wanted (topic, partition, epoch, before, after)
), locked as (
    select topic, partition, wanted.after from consumer_position as held join wanted using (topic, partition)
    where held.group_name = :group{_FENCE}
    order by topic, partition for update of held
), moved as (
    update consumer_position as held set next_offset = locked.after, moved_at = clock_timestamp() from locked
    where held.group_name = :group and held.topic = locked.topic and held.partition = locked.partition
    returning held.topic, held.partition
), claimed as (
    insert into processed_event (group_name, event_id)
    select :group, unnest(cast(:ids as uuid[]))
    where (select count(*) from moved) = (select count(*) from wanted)
    on conflict do nothing returning event_id
)
select topic, partition, cast(null as uuid) as event_id from moved
union all select null, null, event_id from claimed"""  # noqa: S608 - no value in it
_READ = """
select topic, partition, epoch, next_offset from consumer_position
where group_name = :group and (topic, partition) in (
    select * from unnest(cast(:topics as text[]), cast(:partitions as int[])))"""
_CLAIM = """
insert into processed_event (group_name, event_id)
select :group, unnest(cast(:ids as uuid[])) on conflict do nothing returning event_id"""


class Fenced(CloseloopError):
    """Another member owns these partitions now; everything of this batch is taken back."""

    title = "Fenced"

    def __init__(self, partitions: Collection[TopicPartition]) -> None:
        names = ", ".join(f"{topic}/{number}" for topic, number in sorted(partitions))
        super().__init__(f"{names} belong to another member")
        self.partitions = frozenset(partitions)


class Position:
    """This member's claim on a partition."""

    __slots__ = ("epoch", "next_offset")

    def __init__(self, epoch: int, next_offset: int) -> None:
        self.epoch = epoch
        self.next_offset = next_offset


@dataclass(frozen=True, slots=True)
class Move:
    """A partition whose records before the offset `after` are handled."""

    partition: TopicPartition
    position: Position
    after: int


class Positions:
    """SQL of consumer_position and processed_event for one group."""

    def __init__(self, database: Database, group: str, owner: str) -> None:
        self._database = database
        self._group = group
        self._owner = owner

    async def acquire(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
        """Take the partitions over (a new epoch); `starts` says where a group begins that has no position yet."""
        async with self._database.unit_of_work() as uow:
            result = await uow.execute(
                _ACQUIRE,
                {**self._named(starts), "owner": self._owner, "first_offsets": list(starts.values())},
            )
            rows = result.all()
        return {TopicPartition(row.topic, row.partition): Position(row.epoch, row.next_offset) for row in rows}

    async def advance(self, uow: UnitOfWork, moves: Sequence[Move], ids: Sequence[UUID]) -> set[UUID]:
        """Move the positions in the handler's transaction; which of `ids` are processed here for the first time: they
        are from now on, if it commits. Raises Fenced for partitions whose claim is not ours any more."""
        rows = await self._move(uow, moves, ids, _ADVANCE)
        moved = {TopicPartition(row.topic, row.partition) for row in rows if row.event_id is None}
        if lost := {move.partition for move in moves} - moved:
            raise Fenced(lost)
        return {row.event_id for row in rows if row.event_id is not None}

    async def _move(self, uow: UnitOfWork, moves: Sequence[Move], ids: Sequence[UUID], statement: str) -> Sequence[Any]:
        result = await uow.execute(
            statement,
            {
                **self._named(move.partition for move in moves),
                "epochs": [move.position.epoch for move in moves],
                "befores": [move.position.next_offset for move in moves],
                "afters": [move.after for move in moves],
                "ids": list(ids),
            },
        )
        return result.all()

    async def claim(self, uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
        """Which of `ids` are processed here for the first time; they are from now on, if the transaction commits."""
        if not ids:
            return set()
        result = await uow.execute(_CLAIM, {"group": self._group, "ids": list(ids)})
        return {row.event_id for row in result}

    async def reread(self, positions: Mapping[TopicPartition, Position]) -> dict[TopicPartition, int]:
        """After an unknown outcome: the next offset of each partition that is still ours."""
        async with self._database.reader() as reader:
            rows = await reader.all(_READ, self._named(positions))
        found = {TopicPartition(row.topic, row.partition): row for row in rows}
        return {
            partition: found[partition].next_offset
            for partition, position in positions.items()
            if partition in found and found[partition].epoch == position.epoch
        }

    def _named(self, partitions: Iterable[TopicPartition]) -> dict[str, Any]:
        listed = list(partitions)
        return {
            "group": self._group,
            "topics": [partition.topic for partition in listed],
            "partitions": [partition.partition for partition in listed],
        }
