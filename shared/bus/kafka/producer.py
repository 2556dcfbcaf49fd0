"""Appends to Kafka: a queue of batches per partition, one request at a time to each broker; answers always come.

Batches leave together, so that a request holds what several partitions have, and a partition has one batch under way,
so that its order is the order of `send`. Every batch has a deadline, whatever the brokers do.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

from shared.bus.kafka.batches import Batch, Lane, Sending
from shared.bus.kafka.link import Link
from shared.bus.partition import partition_of, partitions_of
from shared.bus.port import BusUnavailable, Message, TopicPartition, refuse_oversized
from shared.bus.security import PLAIN, Security
from shared.core.errors import NotFound
from shared.telemetry.logging import get_logger

log = get_logger(__name__)

SEND_TIMEOUT_SECONDS = 15.0
STALL_SECONDS = 30.0  # sends wait and nothing was confirmed for so long: the client is taken for stuck (T10)
LINGER_SECONDS = 0.002  # performance.md: the door to ingest waits for a shared batch of 2 ms
# What comes in a trickle leaves together, whatever its partition, at most this often: a request costs the brokers (and
# us) nearly the same with one record as with twenty, and every partition's record in a request of its own is the load.
PACE_SECONDS = 0.04
_FULL = 32  # messages that do not wait for the next departure, only for the end of the one under way
BATCH_BYTES = 128 * 1024  # a larger message goes alone
_REQUEST_BYTES = 1024 * 1024  # before compression; what does not fit leaves with the next
HELD_BYTES = 32 * 1024 * 1024  # waiting and in flight, all partitions; above it `send` waits
_RECORD_OVERHEAD_BYTES = 64  # lengths, offset, time, and as much again for a few headers
_LOOK_SECONDS = 0.25
_REST_SECONDS = 0.1  # of a partition that could not be written
_RETRY_SECONDS = 0.5
_RETRIES = 3
_FLUSH_SECONDS = 3.0
_CLOSE_SECONDS = 1.0
_CONNECT_SECONDS = 12.0

# The broker did not write this batch: its number is not the one that comes next, or its producer is not known any more.
_OUT_OF_STEP = (OutOfOrderSequenceNumber, UnknownProducerId, InvalidProducerEpoch, ProducerFenced)
_UNANSWERED = KafkaConnectionError("the connection was given up")
_STOPPED = "the producer was stopped before the messages were confirmed"


class KafkaProducer:
    """port.Producer over Kafka."""

    def __init__(self, servers: Sequence[str], security: Security = PLAIN) -> None:
        self._servers = tuple(servers)
        self._security = security
        self._topics: dict[str, list[Lane]] = {}
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()
        self._boards: dict[Lane, None] = {}  # their last batch leaves with the next departure
        self._aboard = 0  # messages
        self._left_at = 0.0
        self._departure: asyncio.TimerHandle | None = None
        self._ready: dict[Lane, None] = {}  # their first batch has left, as soon as its broker is free
        self._busy: dict[int, asyncio.Task[dict[TopicPartition, KafkaError | None]]] = {}
        self._look: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0
        self._link: Link | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._cleanups: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.renewals = 0

    async def start(self) -> None:
        """Connect. Raises BusUnavailable."""
        self._link = await self._open()

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is durable; MessageTooLarge: nothing sent, BusUnavailable: unknown."""
        sizes = refuse_oversized(messages)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SEND_TIMEOUT_SECONDS
        sending = Sending(loop.create_future())
        for message, size, lane in zip(messages, sizes, await self._lanes_of(messages, deadline), strict=True):
            while self._held >= HELD_BYTES:
                await self._wait_for_room(deadline)
            if self._stopped:
                raise BusUnavailable("the producer is stopped")
            self._append(lane, message, size + _RECORD_OVERHEAD_BYTES, sending)
        self._depart_if_full()
        sending.finished(None)
        if reason := await sending.done:
            raise BusUnavailable(reason)

    async def stop(self) -> None:
        """Flush for 3 s, then close; 6 s at most."""
        if self._stopped:
            return
        self._stopped = True
        self._depart()
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                while self._held:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            for lane in self._lanes():
                self._end(lane, _STOPPED)
        link, self._link = self._link, None
        tasks: list[asyncio.Task[Any]] = [*self._busy.values(), *([self._renewal] if self._renewal else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for timer in (self._departure, self._look):
            if timer:
                timer.cancel()
        if link:
            await link.close()
        if self._cleanups:
            await asyncio.wait(self._cleanups, timeout=_CLOSE_SECONDS)

    # queueing

    async def _lanes_of(self, messages: Sequence[Message], deadline: float) -> list[Lane]:
        topics = [message.topic for message in messages]
        lanes = {topic: self._topics.get(topic) or await self._learn(topic, deadline) for topic in set(topics)}
        if len(lanes) == 1:
            of_topic = lanes[topics[0]]
            return [of_topic[n] for n in partitions_of([message.key for message in messages], len(of_topic))]
        return [lanes[message.topic][partition_of(message.key, len(lanes[message.topic]))] for message in messages]

    def _append(self, lane: Lane, message: Message, size: int, sending: Sending) -> None:
        batch = lane.waiting[-1] if lane.waiting else None
        if batch is None or batch.sent or batch.size + size > BATCH_BYTES:
            if batch is not None:  # full: it does not wait for the next departure
                self._ready[lane] = None
            batch = self._board(lane)
        if not batch.waiters or batch.waiters[-1] is not sending:
            batch.waiters.append(sending)
            sending.left += 1
        batch.messages.append(message)
        batch.size += size
        self._held += size
        self._aboard += 1

    def _board(self, lane: Lane) -> Batch:
        loop = asyncio.get_running_loop()
        batch = Batch(now := loop.time())
        lane.waiting.append(batch)
        self._boards[lane] = None
        if self._departure is None:
            at = max(now + LINGER_SECONDS, self._left_at + PACE_SECONDS)
            self._departure = loop.call_at(at, self._depart)
        if self._look is None:
            self._waiting_since = now
            self._look = loop.call_later(_LOOK_SECONDS, self._end_the_overdue)
        return batch

    def _depart_if_full(self) -> None:
        """Under load what came while a request was under way makes the next: few large ones cost the least."""
        if self._busy:
            return
        if self._aboard >= _FULL:
            self._depart()
        elif self._ready:
            self._pump()

    def _depart(self) -> None:
        if self._departure:
            self._departure.cancel()
            self._departure = None
        self._left_at = asyncio.get_running_loop().time()
        self._ready.update(self._boards)
        self._boards.clear()
        self._aboard = 0
        self._pump()

    async def _wait_for_room(self, deadline: float) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.wait()
        except TimeoutError:
            raise BusUnavailable(f"Kafka took nothing off a full queue for {SEND_TIMEOUT_SECONDS:g} s") from None

    async def _learn(self, topic: str, deadline: float) -> list[Lane]:
        """The lanes of a topic: partition counts never change, so they are asked for once."""
        try:
            async with asyncio.timeout_at(deadline):
                partitions = await (await self._linked()).partitions_of(topic)
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, UnknownTopicOrPartitionError) and await (await self._linked()).refresh():
                raise NotFound(f"the topic {topic!r} does not exist; create it first") from None
            raise BusUnavailable(f"Kafka is out of reach ({error!r})") from error
        return self._topics.setdefault(topic, [Lane(TopicPartition(topic, n)) for n in range(partitions)])

    def _lanes(self) -> Iterable[Lane]:
        return (lane for lanes in self._topics.values() for lane in lanes)

    # delivery

    def _pump(self) -> None:
        """Every broker that is free takes what is ready for it."""
        if not self._ready or (link := self._link) is None:
            return
        now = asyncio.get_running_loop().time()
        loads: dict[int, list[Lane]] = {}
        for lane in [lane for lane in self._ready if lane.under_way is None and lane.rests_until <= now]:
            if (leader := link.leader_of(lane.partition)) is None:
                self._rest(lane)
            elif leader not in self._busy:
                loads.setdefault(leader, []).append(lane)
        for leader, lanes in loads.items():
            taken = self._taken(lanes)
            batches = {lane.partition: lane.under_way.messages for lane in taken if lane.under_way}
            writing = asyncio.get_running_loop().create_task(link.write(leader, batches))
            self._busy[leader] = writing
            writing.add_done_callback(partial(self._exchanged, link, leader, taken))

    def _taken(self, lanes: Sequence[Lane]) -> list[Lane]:
        """The lanes whose first batch goes with this request."""
        size = 0
        for n, lane in enumerate(lanes):
            if size >= _REQUEST_BYTES:
                return list(lanes[:n])
            batch = lane.under_way = lane.waiting.popleft()
            batch.sent = True
            size += batch.size
            del self._ready[lane]
            if len(lane.waiting) > (lane in self._boards):
                self._ready[lane] = None  # at the end: others come before its next
        return list(lanes)

    def _exchanged(
        self,
        link: Link,
        leader: int,
        lanes: Sequence[Lane],
        writing: asyncio.Task[dict[TopicPartition, KafkaError | None]],
    ) -> None:
        """Also of a request that was given up before it began, which a `finally` inside it would never hear of."""
        del self._busy[leader]
        failure = None if writing.cancelled() else writing.exception()
        if failure:
            log.error("kafka_request_failed", error=type(failure).__name__)
        outcomes = {} if writing.cancelled() or failure else writing.result()
        for lane in lanes:
            self._settle(link, lane, outcomes.get(lane.partition, _UNANSWERED))
        self._depart_if_full()
        self._pump()

    def _settle(self, link: Link, lane: Lane, error: KafkaError | None) -> None:
        batch, lane.under_way = lane.under_way, None
        if batch is None:
            return
        if error is None:
            self._waiting_since = asyncio.get_running_loop().time()
            self._finish(batch, None)
            return
        out_of_step = isinstance(error, _OUT_OF_STEP)
        batch.failures += out_of_step
        again = not batch.ended and batch.failures <= _RETRIES and (out_of_step or error.retriable)
        if out_of_step or not again:
            self._fence(link, lane)
        if again:
            lane.waiting.appendleft(batch)
            self._ready[lane] = None
            self._rest(lane)
        else:
            self._finish(batch, f"Kafka refused messages for {lane.partition.topic} ({error!r})")

    def _fence(self, link: Link, lane: Lane) -> None:
        """The number of a batch that may have been written is not for another one: what comes has a new epoch."""
        if not link.fence(lane.partition):
            self._discard(link, "its epochs are used up")

    def _rest(self, lane: Lane) -> None:
        """Until the brokers had a moment to sort themselves out."""
        loop = asyncio.get_running_loop()
        lane.rests_until = loop.time() + _REST_SECONDS
        loop.call_at(lane.rests_until, self._pump)

    def _finish(self, batch: Batch, reason: str | None) -> None:
        if batch.ended:
            return
        batch.ended = True
        self._held -= batch.size
        if self._held < HELD_BYTES:
            self._room.set()
        for sending in batch.waiters:
            sending.finished(reason)

    def _end_the_overdue(self) -> None:
        """One timer looks at the deadlines of all batches: one for each costs as much as a message."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._link and now - self._waiting_since >= STALL_SECONDS:
            self._discard(self._link, f"nothing was confirmed for {STALL_SECONDS:g} s")
            self._waiting_since = now
        for lane in [lane for lane in self._lanes() if lane.under_way or lane.waiting]:
            reason = f"Kafka did not confirm messages for {lane.partition.topic} within {SEND_TIMEOUT_SECONDS:g} s"
            self._end(lane, reason, born_before=now - SEND_TIMEOUT_SECONDS)
        self._look = loop.call_later(_LOOK_SECONDS, self._end_the_overdue) if self._held else None

    def _end(self, lane: Lane, reason: str, born_before: float = float("inf")) -> None:
        """Answer for batches, under way or not. What is under way may still be written: that is why it is unknown."""
        if lane.under_way and lane.under_way.born <= born_before:
            self._finish(lane.under_way, reason)
        while lane.waiting and lane.waiting[0].born <= born_before:
            batch = lane.waiting.popleft()
            if batch.sent and self._link:
                self._fence(self._link, lane)
            self._finish(batch, reason)
        if not lane.waiting:
            self._ready.pop(lane, None)
            self._boards.pop(lane, None)

    # the connection

    async def _linked(self) -> Link:
        """A link that has not failed; the caller bounds the time."""
        while (link := self._link) is None:
            if self._stopped:
                raise BusUnavailable("the producer is stopped")
            await asyncio.wait({self._renewing()})
        return link

    def _renewing(self) -> asyncio.Task[None]:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_task(self._renew())
        return self._renewal

    async def _renew(self) -> None:
        """Try until there is a new link."""
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
        self._pump()

    async def _open(self) -> Link:
        link = Link(self._servers, self._security)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await link.open()
        except BaseException as error:
            await link.close()
            if isinstance(error, KafkaError | OSError | TimeoutError):
                raise BusUnavailable(f"Kafka at {','.join(self._servers)} is out of reach ({error!r})") from error
            raise
        return link

    def _discard(self, link: Link, reason: str) -> None:
        """Give a link up; what was under way with it goes with the next."""
        if link is not self._link:
            return
        self._link = None
        log.warning("kafka_producer_given_up", reason=reason)
        for task in self._busy.values():
            task.cancel()
        self._renewing()
        cleanup = asyncio.get_running_loop().create_task(link.close())
        self._cleanups.add(cleanup)
        cleanup.add_done_callback(self._cleanups.discard)
