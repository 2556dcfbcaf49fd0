"""Consumer groups of the Postgres bus: who is alive, whose partition is whose, and one member that reads its own.

Nobody coordinates. Members stand in a table with a heartbeat by the database clock; each computes the same assignment
from the same rows. Every change of members is a new generation, at which each member gives up everything and takes its
new share. In between two members may both believe that a partition is theirs. That is harmless: `assigned` takes a new
epoch in the consumer's database, and the transaction of whoever lost it matches no row (the fence of
shared/runtime/consumer.py). What would not heal by itself is a late `assigned` that fences the rightful owner; see
`_confirm`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID
from zlib import crc32

from shared.bus.port import BusUnavailable, RebalanceListener, Record, TopicPartition
from shared.bus.postgres.link import GROUPS, RECORDS, Link, ended
from shared.bus.postgres.log import Catalog, Position, read
from shared.core.errors import CloseloopError
from shared.core.ids import uuid7
from shared.telemetry.logging import get_logger

SESSION_SECONDS = 15.0
HEARTBEAT_SECONDS = 3.0
_POLL_SECONDS = 1.0  # the net under NOTIFY
_PACE_SECONDS = 0.01  # between looks of an idle member: a trickle of single messages is read in handfuls
_RETRY_SECONDS = 0.5
_STOP_SECONDS = 3.0

_BEAT = "select generation, id, topics from bus.beat($1, $2, $3, $4)"
_LEAVE = "select bus.leave($1, $2)"
_HIGH_WATER = "select id, next_offset from bus.partition where id = any ($1::int[])"
_COMMIT = """
insert into bus.group_offset (group_name, topic, partition, next_offset)
select $1, * from unnest($2::text[], $3::int[], $4::bigint[])
on conflict (group_name, topic, partition)
do update set next_offset = excluded.next_offset, committed_at = excluded.committed_at
"""
_log = get_logger(__name__)


@dataclass(slots=True)
class _Owned:
    id: int
    offset: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class _Share:
    """What this member is to have in a generation of its group."""

    generation: int = -1
    partitions: frozenset[TopicPartition] = field(default_factory=frozenset)


def share_of(
    member: UUID, members: Sequence[tuple[UUID, Iterable[str]]], topics: Mapping[str, int]
) -> frozenset[TopicPartition]:
    """The partitions of `member`: round robin over those who read the topic, begun elsewhere for each topic so that
    small topics do not all fall to the first. Every member computes it from the same rows."""
    share: set[TopicPartition] = set()
    for topic, partitions in topics.items():
        readers = sorted(id_ for id_, subscribed in members if topic in subscribed)
        if member in readers:
            first = (readers.index(member) - crc32(topic.encode())) % len(readers)
            share.update(TopicPartition(topic, number) for number in range(first, partitions, len(readers)))
    return frozenset(share)


class PostgresConsumer:
    """See port.Consumer."""

    def __init__(
        self, link: Link, catalog: Catalog, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> None:
        self._link = link
        self._catalog = catalog
        self._group = group
        self._topics = tuple(dict.fromkeys(topics))
        self._listener = listener
        self._member = uuid7()
        self._counts: dict[str, int] = {}
        self._share = _Share()
        self._owned: dict[TopicPartition, _Owned] = {}
        self._alive_until = 0.0
        self._wake = asyncio.Event()
        self._regrouped = asyncio.Event()
        self._share_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """See port.Consumer. Raises NotFound for a topic that does not exist."""
        for topic in self._topics:
            self._counts[topic] = len(await self._catalog.ids(topic))
        self._link.on_notify(GROUPS, self._group, self._regrouped.set)
        for topic in self._topics:
            self._link.on_notify(RECORDS, topic, self._wake.set)
        try:
            await self._beat()
        except BaseException:
            self._forget()
            raise
        self._tasks = [
            asyncio.create_task(self._beat_forever(), name=f"{self._group} heartbeat"),
            asyncio.create_task(self._rebalance_forever(), name=f"{self._group} rebalance"),
        ]

    async def fetch(self, max_records: int, timeout_seconds: float) -> dict[TopicPartition, list[Record]]:
        """See port.Consumer."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        while True:
            if self._failure is not None:
                raise self._failure
            self._wake.clear()
            looked = clock()
            try:
                if found := await self._read(max_records):
                    return found
            except BusUnavailable:
                await asyncio.sleep(min(_RETRY_SECONDS, timeout_seconds))  # whoever calls again at once does no harm
                raise
            if (left := deadline - clock()) <= 0:
                return {}
            try:
                async with asyncio.timeout(min(left, _POLL_SECONDS)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            if (rest := looked + _PACE_SECONDS - clock()) > 0:
                await asyncio.sleep(rest)

    async def _read(self, max_records: int) -> dict[TopicPartition, list[Record]]:
        """One look at every owned partition. What was taken, moved or paused meanwhile is not handed out."""
        if asyncio.get_running_loop().time() > self._alive_until:
            await self._beat()  # we were frozen or cut off for a session: what we had may be others' by now
            return {}
        positions = {
            partition: Position(owned.id, partition, owned.offset)
            for partition, owned in self._owned.items()
            if not owned.paused
        }
        if not positions:
            return {}
        found = await read(self._link, positions.values(), max_records)
        for partition in tuple(found):
            owned = self._owned.get(partition)
            if owned is None or owned.paused or owned.offset != positions[partition].offset:
                del found[partition]
            else:
                owned.offset += len(found[partition])
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See port.Consumer. A partition that was just taken away is left alone."""
        if (owned := self._owned.get(partition)) is not None:
            owned.offset = offset
            self._wake.set()

    def pause(self, partition: TopicPartition) -> None:
        """See port.Consumer."""
        if (owned := self._owned.get(partition)) is not None:
            owned.paused = True

    def resume(self, partition: TopicPartition) -> None:
        """See port.Consumer."""
        if (owned := self._owned.get(partition)) is not None:
            owned.paused = False
            self._wake.set()

    def assignment(self) -> frozenset[TopicPartition]:
        """See port.Consumer."""
        return frozenset(self._owned)

    async def high_water(self) -> dict[TopicPartition, int]:
        """See port.Consumer."""
        by_id = {owned.id: partition for partition, owned in self._owned.items()}
        rows = await self._link.fetch(_HIGH_WATER, list(by_id))
        return {by_id[id_]: next_offset for id_, next_offset in rows}

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See port.Consumer."""
        topics = [partition.topic for partition in positions]
        numbers = [partition.partition for partition in positions]
        try:
            await self._link.fetch(_COMMIT, self._group, topics, numbers, list(positions.values()))
        except CloseloopError as error:
            _log.warning("bus_commit_failed", group=self._group, reason=error.detail)

    async def stop(self) -> None:
        """See port.Consumer."""
        await ended(*self._tasks)
        joined, self._tasks = bool(self._tasks), []
        self._forget()
        if joined:
            await self._leave()
        self._end(BusUnavailable("the consumer is stopped"))

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._link.fetch(_LEAVE, self._group, self._member)
        except (BusUnavailable, TimeoutError) as error:  # the session will expire instead
            _log.warning("bus_leave_failed", group=self._group, reason=str(error))

    def _forget(self) -> None:
        self._link.off_notify(GROUPS, self._group, self._regrouped.set)
        for topic in self._topics:
            self._link.off_notify(RECORDS, topic, self._wake.set)

    def _end(self, failure: BaseException) -> None:
        self._owned = {}
        self._failure = self._failure or failure
        self._wake.set()

    # -- membership ----------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """One sign of life; learns who the members are. A member that was given up joins again by it."""
        began = asyncio.get_running_loop().time()
        session = timedelta(seconds=SESSION_SECONDS)
        rows = await self._link.fetch(_BEAT, self._group, self._member, list(self._topics), session)
        self._alive_until = began + SESSION_SECONDS
        if rows[0]["generation"] != self._share.generation:
            members = [(row["id"], row["topics"]) for row in rows]
            self._share = _Share(rows[0]["generation"], share_of(self._member, members, self._counts))
            self._share_changed.set()

    async def _beat_forever(self) -> None:
        pause = HEARTBEAT_SECONDS
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._regrouped.wait()
            except TimeoutError:
                pass
            self._regrouped.clear()
            try:
                await self._beat()
                pause = HEARTBEAT_SECONDS
            except BusUnavailable:
                pause = _RETRY_SECONDS

    async def _rebalance_forever(self) -> None:
        try:
            while True:
                await self._share_changed.wait()
                self._share_changed.clear()
                await self._rebalance(self._share)
        except Exception as error:  # what `assigned` raised: fetch raises it, and the partitions go to others at once
            self._tasks[0].cancel()
            self._end(error)
            await self._leave()

    async def _rebalance(self, share: _Share) -> None:
        lost, self._owned = frozenset(self._owned), {}
        if lost:
            await self._listener.revoked(lost)
        if self._share is not share or not share.partitions:
            return
        starts = await self._listener.assigned(share.partitions)
        self._owned = {
            partition: _Owned(await self._catalog.id(partition), starts[partition]) for partition in share.partitions
        }
        self._wake.set()
        await self._confirm(share)

    async def _confirm(self, share: _Share) -> None:
        """If the group changed while `assigned` ran, we may have fenced the new owner after it took over; then one more
        generation makes it take a new epoch. Ends as soon as members stay the same for one `assigned`."""
        while True:
            try:
                await self._beat()
                if share.partitions - self._share.partitions:
                    await self._link.fetch("select bus.regroup($1)", self._group)
                return
            except BusUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
