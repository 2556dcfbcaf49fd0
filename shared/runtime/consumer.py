"""The consumer loop: at-least-once delivery in, exactly-once effects out (delivery.md).

One batch is one transaction: fence and move the positions of its partitions, drop what was processed before, apply the
effects of the rest, write outgoing events to the outbox, park what is poison. The order of these steps is the promise.
A batch takes what several partitions of a topic have (ADR 0008). What cannot be read is parked by itself, without a
try; where a batch fails it is halved until the bad record stands alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.bus.port import Bus, BusUnavailable, Consumer, Record, TopicPartition
from shared.contracts.envelope import Event
from shared.contracts.topics import Topic
from shared.core.errors import BadRecord, CloseloopError
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import dead_letters, faults
from shared.runtime.backoff import Backoff
from shared.runtime.batch import Held, Item, Run, cut, decoded, read_anew, size_of, until_unreadable
from shared.runtime.component import owner_name
from shared.runtime.patience import is_outage_of_ours, pause, through_outage
from shared.runtime.positions import Fenced, Positions
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
    CPU-bound work whose results `handle` then finds. Small batches start at most every `pace_seconds`.
    `max_batch` is the most records of one transaction.

    A `raw` handler gets records instead of events, reads them itself (BadRecord for poison), and knows a repeat by
    its own state: reading a record and claiming its id cost more than all the rest where state is kept per event."""

    group: str
    topics: tuple[Topic, ...]
    handle: Callable[[Sequence[Any], UnitOfWork], Awaitable[None]]
    prepare: Callable[[Sequence[Event[Any]]], None] | None = None
    max_batch: int = 500
    pace_seconds: float = PACE_SECONDS
    raw: bool = False


class Stuck(CloseloopError):
    """The bus has records for us and our position does not move: end the process, a fresh one will go on."""

    title = "Stuck consumer"


class ConsumerLoop:
    """One member of a subscription's group. A component; also the bus's RebalanceListener."""

    def __init__(self, bus: Bus, database: Database, subscription: Subscription) -> None:
        self.name = f"{subscription.group}-consumer"
        self._bus = bus
        self._subscription = subscription
        self._database = database
        self._positions = Positions(database, subscription.group, owner_name())
        self._partitions: dict[TopicPartition, Held] = {}
        self._lost_at: dict[TopicPartition, float] = {}
        # Kept over rebalances: a partition that was stopped for poison must not start anew with every new member.
        self._poison: dict[TopicPartition, dead_letters.PoisonLimit] = {}
        self._in_line: frozenset[TopicPartition] = frozenset()
        self._batch_limit = subscription.max_batch
        # A dependency of the handler may be away while our database answers: do not ask it in a tight loop.
        self._backoff = Backoff(first=0.05, most=2.0)
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
        next_offsets = {partition: position.next_offset for partition, position in acquired.items()}
        in_a_row = await through_outage(lambda: self._parked_in_a_row(next_offsets), stopping=self._stopping)
        for partition, position in acquired.items():
            self._forget(partition)
            poison = self._poison.setdefault(partition, dead_letters.PoisonLimit())
            poison.taken_over(in_a_row[partition])
            self._partitions[partition] = Held(position, poison)
        return next_offsets

    async def _parked_in_a_row(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        async with self._database.reader() as reader:
            return await dead_letters.parked_in_a_row(reader, self._subscription.group, offsets)

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
            if fetched:
                await self._process(fetched)
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

    async def _process(self, fetched: Mapping[TopicPartition, list[Record]]) -> None:
        """Handle what was fetched, topic by topic; after an outage go on from where the database says we stand."""
        runs = [run for partition, records in fetched.items() if (run := await self._run_of(partition, records))]
        for topic in {run.partition.topic: None for run in runs}:
            of_topic = [run for run in runs if run.partition.topic == topic]
            await self._prepare([item for run in of_topic for item in run.items])
            faults.reached("after_fetch", "consumer")
            while of_topic and not self._stopping.is_set():
                batch, of_topic = cut(of_topic, self._batch_limit)
                try:
                    with metrics.BATCH_SECONDS.labels(self._subscription.group, topic).time():
                        await self._advance(batch)
                except Exception as error:  # sorted in _advance: what comes here is an outage, or a bug of ours
                    if not is_outage_of_ours(error):
                        raise
                    self._batch_limit = max(1, size_of(batch) // 2)
                    await self._recover(runs, error)
                    return
                self._batch_limit = min(self._subscription.max_batch, self._batch_limit * 2)

    async def _run_of(self, partition: TopicPartition, records: list[Record]) -> Run | None:
        held = self._partitions.get(partition)
        if held is None or held.stopped or not records:
            return None
        expected, found = held.position.next_offset, records[0].offset
        if found == expected:
            items = [] if self._subscription.raw else [decoded(record) for record in records]
            return Run(partition, held, records, items)
        # Earlier ones were fetched before a rebalance; later ones would mean that records are lost.
        if found > expected:
            where = f"{partition.topic}/{partition.partition}"
            log.error("offset_gap", partition=where, expected=expected, found=found)
            await pause(self._backoff.delay(), self._stopping)
        self._consumer.seek(partition, expected)
        return None

    async def _prepare(self, items: Sequence[Item]) -> None:
        prepare = self._subscription.prepare
        events = [item.event for item in items if item.event is not None]
        if prepare is None or not events:
            return
        try:
            await asyncio.to_thread(prepare, events)
        except Exception as error:  # the handler will meet it again, on the record that is to blame
            log.warning("prepare_failed", group=self._subscription.group, error=type(error).__name__)

    async def _advance(self, runs: list[Run]) -> None:
        """Handle `runs`: all that can be read in one transaction, as far as no unreadable record stands in between."""
        while runs:
            readable, runs = until_unreadable(runs)
            await self._handle(readable)
            runs = [left for run in runs for left in await self._park_unreadable(run)]

    async def _park_unreadable(self, run: Run) -> list[Run]:
        """Those at its beginning; what is left of it."""
        left = [run]
        while left and (error := left[0].unreadable) and self._is_next(left[0]):
            [first], left = cut(left, 1)
            await self._park(first, error)
        return [one for one in left if self._is_next(one)]

    async def _handle(self, runs: list[Run]) -> None:
        """Handle `runs` in one transaction, or in halves down to the bad record. Raises the outage of what we depend
        on; partitions that are not ours any more, or stopped, are left out."""
        runs = [run for run in runs if self._is_next(run)]
        if not runs:
            return
        try:
            await self._transact(runs)
        except Fenced as fenced:
            self._lose(fenced.partitions)
            await self._handle(runs)
        except Exception as error:  # an outage is waited for, poison is parked, nothing is swallowed
            if is_outage_of_ours(error):
                raise
            size = size_of(runs)
            if size == 1:
                await self._park(runs[0], error)
            elif isinstance(error, BadRecord) and (read := read_anew(runs)):
                await self._advance(read)
            else:
                for half in cut(runs, size // 2):
                    await self._handle(half)

    def _is_next(self, run: Run) -> bool:
        ours = self._partitions.get(run.partition) is run.held and not run.held.stopped
        return ours and run.first == run.held.position.next_offset

    async def _transact(self, runs: Sequence[Run]) -> None:
        group, topic, size = self._subscription.group, runs[0].partition.topic, size_of(runs)
        records = [record for run in runs for record in run.records]
        items = [] if self._subscription.raw else [item for run in runs for item in run.items]
        events = {item.event.id: item.event for item in items if item.event is not None}
        traceparent = next(iter(events.values())).traceparent if events else None
        with span(f"{group} {topic}", traceparent):
            async with self._database.unit_of_work() as uow:
                fresh = await self._positions.advance(uow, [run.move for run in runs], list(events))
                handed: Sequence[Any] = (
                    records if self._subscription.raw else [one for one in events.values() if one.id in fresh]
                )
                if handed:
                    await self._subscription.handle(handed, uow)
                faults.reached("before_commit", "consumer")
        metrics.CONSUMED.labels(group, topic).inc(len(handed))
        if len(handed) < size:
            metrics.REPEATED.labels(group, topic).inc(size - len(handed))
        for run in runs:
            run.held.poison.handled(len(run.records))
            self._moved(run)

    async def _park(self, run: Run, error: Exception) -> None:
        if run.held.poison.reached():
            self._halt(run.partition, run.held, error)
            return
        group, unread = self._subscription.group, run.unreadable is not None
        log.error(
            "record_parked",
            group=group,
            topic=run.partition.topic,
            partition=run.partition.partition,
            offset=run.first,
            error=dead_letters.describe(error),
            exc_info=None if unread else error,
        )
        try:
            async with self._database.unit_of_work() as uow:
                await self._positions.advance(uow, [run.move], [])
                await dead_letters.park_record(uow, group, run.records[0], error, attempts=1)
        except Fenced as fenced:
            self._lose(fenced.partitions)
            return
        run.held.poison.parked()
        self._moved(run)

    def _moved(self, run: Run) -> None:
        run.held.position.next_offset = run.after
        self._backoff.reset()
        run.held.touch()
        for waiting in self._in_line & self._partitions.keys():
            self._partitions[waiting].touch()  # it stands still because it is not its turn

    async def _recover(self, runs: Sequence[Run], error: Exception) -> None:
        """The outcome of a transaction is unknown: read the positions again, and go on from there where they are
        ours."""
        log.warning("database_out_of_reach", group=self._subscription.group, error=type(error).__name__)
        positions = {run.partition: run.held.position for run in runs}
        offsets = await through_outage(
            lambda: self._positions.reread(positions), stopping=self._stopping, waiting=self._touch_all
        )
        await pause(self._backoff.delay(), self._stopping)
        ours = [run for run in runs if self._partitions.get(run.partition) is run.held]
        self._lose({run.partition for run in ours if run.partition not in offsets})
        for run in ours:
            if (offset := offsets.get(run.partition)) is not None:
                run.held.position.next_offset = offset
                self._consumer.seek(run.partition, offset)

    def _halt(self, partition: TopicPartition, held: Held, error: Exception) -> None:
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

    def _lose(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
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
                    held.touch()
                elif time.monotonic() - held.moved_at > WATCHDOG_SECONDS:
                    raise Stuck(
                        f"{self.name}: {partition.topic}/{partition.partition} has {lag} records and stands still"
                    )

    def _touch_all(self) -> None:
        """Nothing can move while what we depend on is away."""
        for held in self._partitions.values():
            held.touch()

    async def _tell_lag_tools(self) -> None:
        """The bus's own offsets decide nothing here, so they are not worth a write per batch."""
        if self._partitions:
            await self._consumer.commit({tp: held.position.next_offset for tp, held in self._partitions.items()})

    def _lag_labels(self, partition: TopicPartition) -> tuple[str, str, str]:
        return self._subscription.group, partition.topic, str(partition.partition)
