"""Appends to Kafka: a queue of batches per partition over aiokafka's idempotent producer; answers always come.

aiokafka's own `send` costs ten times as much per message, does not answer while the broker is down, and stays broken
once a batch has failed, because the sequence number of the lost batch is burned (delivery.md T1, T2, T4). So here: one
batch per partition in flight, a deadline for every batch, and a new aiokafka producer whenever one fails a batch.
Batches leave together, so that a request holds what several partitions have.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

from shared.bus.kafka.client import abandon_producer, ended_in_time, meet
from shared.bus.kafka.link import Link, Lost
from shared.bus.partition import partition_of, partitions_of
from shared.bus.port import BusUnavailable, Message, TopicPartition, refuse_oversized
from shared.bus.security import PLAIN, Security
from shared.core.errors import NotFound
from shared.telemetry.logging import get_logger

log = get_logger(__name__)

SEND_TIMEOUT_SECONDS = 15.0
STALL_SECONDS = 30.0  # sends wait and nothing was confirmed for so long: the producer is taken for stuck
LINGER_SECONDS = 0.002  # performance.md: the door to ingest waits for a shared batch of 2 ms
# What comes in a trickle leaves together, whatever its partition, at most this often: a request costs the brokers (and
# us) nearly the same with one record as with twenty, and every partition's record in a request of its own is the load.
PACE_SECONDS = 0.04
_FULL = 32  # messages that do not wait for the next departure, only for the end of the one under way
BATCH_BYTES = 128 * 1024  # a larger message goes alone
HELD_BYTES = 32 * 1024 * 1024  # waiting and in flight, all partitions; above it `send` waits
_RECORD_OVERHEAD_BYTES = 64  # lengths, offset, time, and as much again for a few headers
_RETRY_SECONDS = 0.5
_RETRIES = 3
_FLUSH_SECONDS = 3.0
_CLOSE_SECONDS = 1.0
_CONNECT_SECONDS = 12.0

# The broker did not write this batch, or never saw it; the next producer may.
_NOT_WRITTEN = (
    OutOfOrderSequenceNumber,
    UnknownProducerId,
    InvalidProducerEpoch,
    ProducerFenced,
    NotLeaderForPartitionError,
    LeaderNotAvailableError,
)


class _Departure:
    """Batches of all partitions that leave at one moment."""

    __slots__ = ("left", "messages", "timer")

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.messages = 0
        self.timer: asyncio.TimerHandle | None = None


class _Sending:
    """Who waits for several batches: `done` gets None when all are durable, else the first reason."""

    __slots__ = ("done", "left")

    def __init__(self, done: asyncio.Future[str | None]) -> None:
        self.done = done
        self.left = 1  # until all its messages are in batches

    def finished(self, reason: str | None) -> None:
        """A batch is."""
        self.left -= 1
        if (reason or not self.left) and not self.done.done():
            self.done.set_result(reason)


class _Batch:
    """Messages of one partition that travel together."""

    __slots__ = ("born", "departure", "messages", "size", "waiters")

    def __init__(self, now: float, departure: "_Departure") -> None:
        self.born = now
        self.departure = departure
        self.messages: list[Message] = []
        self.size = 0
        self.waiters: list[_Sending] = []


class _Lane:
    """The batches of one partition that wait. A task runs while there are any; one batch is in flight at a time."""

    __slots__ = ("partition", "task", "waiting")

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.waiting: deque[_Batch] = deque()
        self.task: asyncio.Task[None] | None = None


class KafkaProducer:
    """port.Producer over Kafka."""

    def __init__(self, servers: Sequence[str], security: Security = PLAIN) -> None:
        self._servers = tuple(servers)
        self._security = security
        self._topics: dict[str, list[_Lane]] = {}
        self._held = 0
        self._boards: _Departure | None = None  # the next one
        self._left_at = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self._link: Link | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._cleanups: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._waiting_since: float | None = None
        self._stopped = False
        self.renewals = 0

    async def start(self) -> None:
        """Connect. Raises BusUnavailable."""
        self._link = await self._open()

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is durable; MessageTooLarge: nothing sent, BusUnavailable: unknown."""
        sizes = refuse_oversized(messages)
        deadline = asyncio.get_running_loop().time() + SEND_TIMEOUT_SECONDS
        sending = _Sending(asyncio.get_running_loop().create_future())
        for message, size, lane in zip(messages, sizes, await self._lanes_of(messages, deadline), strict=True):
            while self._held >= HELD_BYTES:
                await self._wait_for_room(deadline)
            if self._stopped:
                raise BusUnavailable("the producer is stopped")
            self._append(lane, message, size, sending)
        self._depart_if_full()
        sending.finished(None)
        if reason := await sending.done:
            raise BusUnavailable(reason)

    async def stop(self) -> None:
        """Flush for 3 s, then close; 6 s at most."""
        if self._stopped:
            return
        self._stopped = True
        self._room.set()
        lanes = [lane for lanes in self._topics.values() for lane in lanes]
        running = {lane.task for lane in lanes if lane.task}
        pending = (await asyncio.wait(running, timeout=_FLUSH_SECONDS))[1] if running else set()
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=_CLOSE_SECONDS)
        for batch in (batch for lane in lanes for batch in lane.waiting):
            self._finish(batch, "the producer was stopped before the messages were confirmed")
        if self._renewal:
            self._renewal.cancel()
            await asyncio.wait({self._renewal}, timeout=_CLOSE_SECONDS)
        link, self._link = self._link, None
        if link and (pending or not await ended_in_time(link.producer.stop(), _CLOSE_SECONDS)):
            await abandon_producer(link.producer)
        if self._cleanups:
            await asyncio.wait(self._cleanups, timeout=_CLOSE_SECONDS)

    # queueing

    async def _lanes_of(self, messages: Sequence[Message], deadline: float) -> list[_Lane]:
        topics = [message.topic for message in messages]
        lanes = {topic: self._topics.get(topic) or await self._learn(topic, deadline) for topic in set(topics)}
        if len(lanes) == 1:
            of_topic = lanes[topics[0]]
            return [of_topic[n] for n in partitions_of([message.key for message in messages], len(of_topic))]
        return [lanes[message.topic][partition_of(message.key, len(lanes[message.topic]))] for message in messages]

    def _append(self, lane: _Lane, message: Message, size: int, sending: _Sending) -> None:
        size += _RECORD_OVERHEAD_BYTES
        batch = lane.waiting[-1] if lane.waiting else None
        if batch is None or batch.size + size > BATCH_BYTES:
            loop = asyncio.get_running_loop()
            batch = _Batch(now := loop.time(), self._boarding(now))
            lane.waiting.append(batch)
            if lane.task is None:
                lane.task = loop.create_task(self._run(lane))
        if not batch.waiters or batch.waiters[-1] is not sending:
            batch.waiters.append(sending)
            sending.left += 1
        batch.messages.append(message)
        batch.size += size
        self._held += size
        batch.departure.messages += 1

    def _boarding(self, now: float) -> _Departure:
        if self._boards is None:
            self._boards = _Departure()
            at = max(now + LINGER_SECONDS, self._left_at + PACE_SECONDS)
            self._boards.timer = asyncio.get_running_loop().call_at(at, self._depart, self._boards)
        return self._boards

    def _depart_if_full(self) -> None:
        """Under load what came while a request was under way makes the next: few large ones cost the least."""
        if self._boards and self._boards.messages >= _FULL and not self._in_flight:
            self._depart(self._boards)

    def _depart(self, departure: _Departure) -> None:
        if departure is self._boards and departure.timer:
            departure.timer.cancel()
            departure.left.set()
            self._boards = None
            self._left_at = asyncio.get_running_loop().time()

    async def _wait_for_room(self, deadline: float) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.wait()
        except TimeoutError:
            raise BusUnavailable(f"Kafka took nothing off a full queue for {SEND_TIMEOUT_SECONDS:g} s") from None

    async def _learn(self, topic: str, deadline: float) -> list[_Lane]:
        """The lanes of a topic: partition counts never change, so they are asked for once."""
        link = await self._linked(deadline)
        if link is None:
            raise BusUnavailable("Kafka is out of reach")
        try:
            async with asyncio.timeout_at(deadline):
                partitions = await link.producer.partitions_for(topic)
        except (KafkaError, TimeoutError) as error:
            unknown = (
                isinstance(error, UnknownTopicOrPartitionError) and await link.producer.client.force_metadata_update()
            )
            if unknown:
                raise NotFound(f"the topic {topic!r} does not exist; create it first") from None
            raise BusUnavailable(f"Kafka is out of reach ({error!r})") from error
        return self._topics.setdefault(topic, [_Lane(TopicPartition(topic, n)) for n in range(len(partitions))])

    async def _run(self, lane: _Lane) -> None:
        """Send what waits, oldest batch first, until nothing does."""
        try:
            while lane.waiting:
                if len(lane.waiting) == 1:
                    await lane.waiting[0].departure.left.wait()
                batch = lane.waiting.popleft()
                reason: str | None = "the producer was stopped before the messages were confirmed"
                try:
                    reason = await self._deliver(lane.partition, batch)
                finally:
                    self._finish(batch, reason)
        finally:
            lane.task = None

    def _finish(self, batch: _Batch, reason: str | None) -> None:
        self._held -= batch.size
        if self._held < HELD_BYTES:
            self._room.set()
        for sending in batch.waiters:
            sending.finished(reason)

    # delivery

    async def _deliver(self, partition: TopicPartition, batch: _Batch) -> str | None:
        """None when the batch is durable, else why that is not known."""
        loop = asyncio.get_running_loop()
        deadline = batch.born + SEND_TIMEOUT_SECONDS
        if self._waiting_since is None:
            self._waiting_since = loop.time()
        self._in_flight += 1
        try:
            reason = await self._attempt(partition, batch, deadline)
        finally:
            self._in_flight -= 1
            self._depart_if_full()
        if reason is None:
            self._waiting_since = loop.time() if self._in_flight else None
        elif self._link and loop.time() - self._waiting_since >= STALL_SECONDS:
            self._discard(self._link, f"nothing was confirmed for {STALL_SECONDS:g} s")
            self._waiting_since = None
        return reason

    async def _attempt(self, partition: TopicPartition, batch: _Batch, deadline: float) -> str | None:
        failures = 0
        while link := await self._linked(deadline):
            try:
                await link.write(partition, batch.messages, deadline)
                return None
            except TimeoutError:
                break
            except (Lost, KafkaTimeoutError, UnknownTopicOrPartitionError):
                # Given up by another lane; or an older batch is still before this one; or no metadata: not this batch.
                continue
            except Exception as error:
                # Whatever failed it, its sequence number is used up: the next batch would fail too (T1, T2).
                self._discard(link, repr(error))
                failures += 1
                if not isinstance(error, _NOT_WRITTEN) or failures > _RETRIES:
                    return f"Kafka refused messages for {partition.topic} ({error!r})"
        return f"Kafka did not confirm messages for {partition.topic} within {SEND_TIMEOUT_SECONDS:g} s"

    # the connection

    async def _linked(self, deadline: float) -> Link | None:
        """A producer that has not failed yet; None when there is none before the deadline."""
        loop = asyncio.get_running_loop()
        while (left := deadline - loop.time()) > 0:
            if self._link:
                return self._link
            if self._stopped:
                return None
            if self._renewal is None:
                self._renewal = loop.create_task(self._renew())
            await asyncio.wait({self._renewal}, timeout=left)
        return None

    async def _renew(self) -> None:
        """Try until there is a new producer."""
        try:
            while self._link is None:
                try:
                    self._link = await self._open()
                    self.renewals += 1
                except BusUnavailable as error:
                    log.warning("kafka_producer_not_renewed", reason=error.detail)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._renewal = None

    async def _open(self) -> Link:
        link = Link(self._servers, self._security)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await meet(link.producer.client, link.producer.start())
        except BaseException as error:
            await abandon_producer(link.producer)
            if isinstance(error, KafkaError | OSError | TimeoutError):
                raise BusUnavailable(f"Kafka at {','.join(self._servers)} is out of reach ({error!r})") from error
            raise
        return link

    def _discard(self, link: Link, reason: str) -> None:
        """Give a failed producer up; the lanes that wait for it go on with the next."""
        if link is not self._link:
            return
        self._link = None
        link.give_up()
        log.warning("kafka_producer_given_up", reason=reason)
        cleanup = asyncio.get_running_loop().create_task(abandon_producer(link.producer))
        self._cleanups.add(cleanup)
        cleanup.add_done_callback(self._cleanups.discard)
