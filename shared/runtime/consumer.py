"""The consumer loop: at-least-once delivery in, exactly-once effects out (delivery.md).

One batch of one partition is one transaction: fence and move the position, drop what was processed before, apply the
effects of the rest, write outgoing events to the outbox, park what is poison. The order of these steps is the promise.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.bus import codec
from shared.bus.port import Bus, BusUnavailable, Consumer, Record, TopicPartition
from shared.contracts.envelope import Event
from shared.contracts.topics import Topic
from shared.core.errors import BadRecord, CloseloopError
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import dead_letters, faults
from shared.runtime.backoff import Backoff
from shared.runtime.component import owner_name
from shared.runtime.patience import is_outage_of_ours, pause, through_outage
from shared.runtime.positions import Fenced, Position, Positions
from shared.telemetry import metrics
from shared.telemetry.logging import get_logger
from shared.telemetry.tracing import span

log = get_logger(__name__)

Handler = Callable[[Sequence[Event[Any]], UnitOfWork], Awaitable[None]]
# A partition that we were fenced from but that the bus still gives us is taken again after this long.
RECLAIM_SECONDS = 20.0
WATCHDOG_SECONDS = 60.0
_LAG_SECONDS = 5.0
# A lone record is handled at once; those of a trickle wait for each other this long, because a batch of one costs as
# many round trips as a batch of a hundred.
PACE_SECONDS = 0.1
_PACED_RECORDS = 100


@dataclass(frozen=True)
class Subscription:
    """A group's handler of some topics. `prepare` gets the batch before the transaction opens, in a thread: for
    CPU-bound work whose results `handle` then finds. Small batches start at most every `pace_seconds`."""

    group: str
    topics: tuple[Topic, ...]
    handle: Handler
    prepare: Callable[[Sequence[Event[Any]]], None] | None = None
    max_batch: int = 500
    pace_seconds: float = PACE_SECONDS


class Stuck(CloseloopError):
    """The bus has records for us and our position does not move: end the process, a fresh one will go on."""

    title = "Stuck consumer"


@dataclass
class _Partition:
    position: Position
    poison: dead_letters.PoisonLimit
    batch_limit: int
    moved_at: float = field(default_factory=time.monotonic)
    stopped: bool = False
    # A dependency of the handler may be away while our database answers: do not ask it in a tight loop.
    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.05, most=2.0))


@dataclass(frozen=True)
class _Item:
    record: Record
    event: Event[Any] | None
    error: BadRecord | None


class ConsumerLoop:
    """One member of a subscription's group. A component; also the bus's RebalanceListener."""

    def __init__(self, bus: Bus, database: Database, subscription: Subscription) -> None:
        self.name = f"{subscription.group}-consumer"
        self._bus = bus
        self._subscription = subscription
        self._database = database
        self._positions = Positions(database, subscription.group, owner_name())
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._lost_at: dict[TopicPartition, float] = {}
        # Kept over rebalances: a partition that was stopped for poison must not start anew with every new member.
        self._poison: dict[TopicPartition, dead_letters.PoisonLimit] = {}
        self._in_line: frozenset[TopicPartition] = frozenset()
        self._stopping = asyncio.Event()
        self._consumer: Consumer = bus.consumer(subscription.group, [topic.name for topic in subscription.topics], self)

    # What the bus tells us

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take the partitions over under a new epoch; start where the group stands, or at the first record kept."""
        starts: dict[TopicPartition, int] = {}
        for topic in {partition.topic for partition in partitions}:
            offsets = await through_outage(lambda topic=topic: self._bus.offsets(topic), stopping=self._stopping)  # type: ignore[misc]
            starts |= {tp: offsets[tp.partition][0] for tp in partitions if tp.topic == topic}
        acquired = await through_outage(lambda: self._positions.acquire(starts), stopping=self._stopping)
        for partition, position in acquired.items():
            self._forget(partition)
            poison = self._poison.setdefault(partition, dead_letters.PoisonLimit())
            self._partitions[partition] = _Partition(position, poison, self._subscription.max_batch)
        return {partition: position.next_offset for partition, position in acquired.items()}

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Forget them; a transaction under way is fenced or was first, both are right."""
        for partition in partitions:
            self._forget(partition)

    # The loop

    async def run(self) -> None:
        """Consume until `stop`. Raises Stuck when the watchdog finds no progress, also while a handler hangs; after
        `stop` it may raise the outage that it was waiting for."""
        await through_outage(self._consumer.start, stopping=self._stopping)
        tasks = {asyncio.create_task(self._consume(), name=self.name), asyncio.create_task(self._watch())}
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._tell_lag_tools()
            await self._consumer.stop()

    async def _consume(self) -> None:
        while not self._stopping.is_set():
            await self._reclaim()
            fetched = await self._fetch()
            began = time.monotonic()
            self._in_line = frozenset(fetched)
            for partition, records in fetched.items():
                if not self._stopping.is_set():
                    await self._process(partition, records)
            if 0 < sum(map(len, fetched.values())) < _PACED_RECORDS:
                await pause(began + self._subscription.pace_seconds - time.monotonic(), self._stopping)

    async def stop(self) -> None:
        """Finish the batch in work, leave the group."""
        self._stopping.set()

    async def _fetch(self) -> dict[TopicPartition, list[Record]]:
        try:
            return await self._consumer.fetch(self._subscription.max_batch, timeout_seconds=0.5)
        except BusUnavailable:
            log.warning("bus_out_of_reach", group=self._subscription.group)
            await asyncio.sleep(1)
            return {}

    async def _process(self, partition: TopicPartition, records: list[Record]) -> None:
        held = self._partitions.get(partition)
        if held is None or held.stopped or not records:
            return
        expected = held.position.next_offset
        if (found := records[0].offset) != expected:
            # Earlier ones were fetched before a rebalance; later ones would mean that records are lost.
            if found > expected:
                where = f"{partition.topic}/{partition.partition}"
                log.error("offset_gap", partition=where, expected=expected, found=found)
                await pause(held.backoff.delay(), self._stopping)
            self._consumer.seek(partition, expected)
            return
        with metrics.BATCH_SECONDS.labels(self._subscription.group, partition.topic).time():
            items = [_decoded(record) for record in records]
            await self._prepare(items)
            faults.reached("after_fetch", "consumer")
            while items and self._partitions.get(partition) is held and not self._stopping.is_set():
                batch, items = items[: held.batch_limit], items[held.batch_limit :]
                if not await self._advance(partition, held, batch):
                    return

    async def _prepare(self, items: Sequence[_Item]) -> None:
        prepare = self._subscription.prepare
        events = [item.event for item in items if item.event is not None]
        if prepare is None or not events:
            return
        try:
            await asyncio.to_thread(prepare, events)
        except Exception as error:  # the handler will meet it again, on the record that is to blame
            log.warning("prepare_failed", group=self._subscription.group, error=type(error).__name__)

    async def _advance(self, partition: TopicPartition, held: _Partition, items: list[_Item]) -> bool:
        """Handle `items` in one transaction, or in halves down to the bad record. False: start again from a fetch."""
        try:
            await self._transact(partition, held.position, items)
        except Fenced:
            self._lose(partition)
            return False
        except Exception as error:  # sorted below: an outage is waited for, poison is parked, nothing is swallowed
            if is_outage_of_ours(error):
                held.batch_limit = max(1, len(items) // 2)
                await self._recover(partition, held, error)
                return False
            if len(items) > 1:
                middle = len(items) // 2
                return await self._advance(partition, held, items[:middle]) and await self._advance(
                    partition, held, items[middle:]
                )
            return await self._park(partition, held, items[0], error)
        parked = sum(item.error is not None for item in items)
        self._moved(partition, held, items, parked)
        held.batch_limit = min(self._subscription.max_batch, held.batch_limit * 2)
        return True

    async def _transact(self, partition: TopicPartition, position: Position, items: Sequence[_Item]) -> None:
        group = self._subscription.group
        # Undecodable records count against the limit like any other poison: they are parked one by one.
        if any(item.error for item in items):
            if len(items) > 1:
                raise BadRecord("a record of the batch cannot be read")
            raise items[0].error or BadRecord("unreadable")
        events = {item.event.id: item.event for item in items if item.event is not None}
        first = next(iter(events.values()))
        with span(f"{group} {partition.topic}", first.traceparent):
            async with self._database.unit_of_work() as uow:
                await self._positions.move(uow, partition, position, items[-1].record.offset + 1)
                fresh = await self._positions.claim(uow, list(events))
                if fresh:
                    await self._subscription.handle([event for event in events.values() if event.id in fresh], uow)
                faults.reached("before_commit", "consumer")
        metrics.CONSUMED.labels(group, partition.topic).inc(len(fresh))
        if len(fresh) < len(items):
            metrics.REPEATED.labels(group, partition.topic).inc(len(items) - len(fresh))

    async def _park(self, partition: TopicPartition, held: _Partition, item: _Item, error: Exception) -> bool:
        if held.poison.reached():
            self._halt(partition, held, error)
            return False
        group, record = self._subscription.group, item.record
        log.error(
            "record_parked",
            group=group,
            topic=partition.topic,
            partition=partition.partition,
            offset=record.offset,
            error=dead_letters.describe(error),
            exc_info=None if item.error else error,
        )
        try:
            async with self._database.unit_of_work() as uow:
                await self._positions.move(uow, partition, held.position, record.offset + 1)
                await dead_letters.park_record(uow, group, record, error, attempts=1)
        except Fenced:
            self._lose(partition)
            return False
        except Exception as problem:  # the database failed while parking: nothing moved, or we read so
            if not is_outage_of_ours(problem):
                raise
            await self._recover(partition, held, problem)
            return False
        held.poison.parked()
        self._moved(partition, held, [item], parked=1)
        return True

    def _moved(self, partition: TopicPartition, held: _Partition, items: Sequence[_Item], parked: int) -> None:
        held.position.next_offset = items[-1].record.offset + 1
        held.poison.handled(len(items) - parked)
        held.backoff.reset()
        _touch(held)
        for waiting in self._in_line & self._partitions.keys():
            _touch(self._partitions[waiting])  # it stands still because it is not its turn

    async def _recover(self, partition: TopicPartition, held: _Partition, error: Exception) -> None:
        """The outcome of the transaction is unknown: read the position again, and go on from there if it is ours."""
        log.warning("database_out_of_reach", group=self._subscription.group, error=type(error).__name__)
        offset = await through_outage(
            lambda: self._positions.reread(partition, held.position),
            stopping=self._stopping,
            waiting=self._touch_all,
        )
        await pause(held.backoff.delay(), self._stopping)
        if self._partitions.get(partition) is not held:
            return
        if offset is None:
            self._lose(partition)
        else:
            held.position.next_offset = offset
            self._consumer.seek(partition, offset)

    def _halt(self, partition: TopicPartition, held: _Partition, error: Exception) -> None:
        held.stopped = True
        self._consumer.pause(partition)
        metrics.STOPPED_PARTITIONS.labels(self._subscription.group, partition.topic).inc()
        log.critical(
            "partition_stopped",
            group=self._subscription.group,
            topic=partition.topic,
            partition=partition.partition,
            offset=held.position.next_offset,
            error=dead_letters.describe(error),
            hint="too many dead letters: mend the handler, restart, then replay them",
        )

    def _lose(self, partition: TopicPartition) -> None:
        metrics.FENCED.labels(self._subscription.group, partition.topic).inc()
        log.info("fenced", group=self._subscription.group, topic=partition.topic, partition=partition.partition)
        self._forget(partition)
        self._lost_at[partition] = time.monotonic()

    def _forget(self, partition: TopicPartition) -> None:
        held = self._partitions.pop(partition, None)
        self._lost_at.pop(partition, None)
        # Not 0: while we wait for the database to take it again nobody knows its lag.
        metrics.LAG.remove(*self._lag_labels(partition))
        if held is not None and held.stopped:
            metrics.STOPPED_PARTITIONS.labels(self._subscription.group, partition.topic).dec()

    async def _reclaim(self) -> None:
        """Two members may for a moment both be given a partition; whoever still has it after a while takes it again."""
        due = [tp for tp, lost in self._lost_at.items() if time.monotonic() - lost > RECLAIM_SECONDS]
        again = frozenset(due) & self._consumer.assignment()
        for partition in due:
            del self._lost_at[partition]
        starts = await self.assigned(again) if again else {}
        for partition, offset in starts.items():
            self._consumer.seek(partition, offset)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LAG_SECONDS)
            await self._tell_lag_tools()
            try:
                high = await self._consumer.high_water()
            except BusUnavailable:
                self._touch_all()
                continue
            for partition, held in list(self._partitions.items()):
                lag = max(0, high.get(partition, 0) - held.position.next_offset)
                metrics.LAG.labels(*self._lag_labels(partition)).set(lag)
                if lag == 0 or held.stopped:
                    _touch(held)
                elif time.monotonic() - held.moved_at > WATCHDOG_SECONDS:
                    raise Stuck(
                        f"{self.name}: {partition.topic}/{partition.partition} has {lag} records and stands still"
                    )

    def _touch_all(self) -> None:
        """Nothing can move while what we depend on is away."""
        for held in self._partitions.values():
            _touch(held)

    async def _tell_lag_tools(self) -> None:
        """The bus's own offsets decide nothing here, so they are not worth a write per batch."""
        if self._partitions:
            await self._consumer.commit({tp: held.position.next_offset for tp, held in self._partitions.items()})

    def _lag_labels(self, partition: TopicPartition) -> tuple[str, str, str]:
        return self._subscription.group, partition.topic, str(partition.partition)


def _decoded(record: Record) -> _Item:
    try:
        return _Item(record, codec.decode(record), None)
    except BadRecord as error:
        return _Item(record, None, error)


def _touch(held: _Partition) -> None:
    held.moved_at = time.monotonic()
