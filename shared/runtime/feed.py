"""Feeds: the live tail of a topic for event streams, resumable from any id it ever gave out.

The id of an event is the vector of positions after it (`partition.offset` pairs), so that a client that reconnects,
to whichever process, misses nothing and sees nothing twice.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from shared.bus import codec
from shared.bus.port import Bus, BusUnavailable, Record, TopicPartition
from shared.contracts.envelope import Event
from shared.contracts.topics import Topic
from shared.core.errors import BadRecord, Fault, InvalidInput
from shared.core.ids import uuid7
from shared.runtime.patience import pause, through_outage

# A client that lags this many events behind is cut; it comes back with its last id and reads on from the log.
_QUEUE = 2000
_PAGE = 500
_ID = re.compile(r"[0-9]{1,4}\.[0-9]{1,18}(-[0-9]{1,4}\.[0-9]{1,18})*")

Wanted = Callable[[Event[Any]], bool]
Vector = dict[int, int]


class Feed:
    """One consumer per process and topic, outside every real group, shared by all streams. A component."""

    def __init__(self, bus: Bus, topic: Topic) -> None:
        self.name = f"{topic.name}-feed"
        self._bus = bus
        self._topic = topic
        self._vector: Vector = {}
        self._clients: set[asyncio.Queue[Record | None]] = set()
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        # A group of its own: every process sees every event.
        self.group_prefix = f"feed-{topic.name}-"
        self._consumer = bus.consumer(self.group_prefix + uuid7().hex, [topic.name], self)

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Start at the end: the past is read from the log, per client."""
        ends = await through_outage(lambda: self._bus.offsets(self._topic.name), stopping=self._stopping)
        for partition in partitions:
            self._vector.setdefault(partition.partition, ends[partition.partition][1])
        if len(self._vector) == len(ends):
            self._ready.set()
        return {partition: self._vector[partition.partition] for partition in partitions}

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """We are alone in our group: they come back, and go on where we were."""

    async def run(self) -> None:
        """Pass records on until `stop`."""
        await through_outage(self._consumer.start, stopping=self._stopping)
        try:
            while not self._stopping.is_set():
                try:
                    batches = await self._consumer.fetch(_PAGE, timeout_seconds=0.5)
                except BusUnavailable:
                    await pause(1.0, self._stopping)
                    continue
                for records in batches.values():
                    for record in records:
                        self._pass_on(record)
        finally:
            await self._consumer.stop()

    async def stop(self) -> None:
        """End all streams; clients reconnect elsewhere with their last id."""
        self._stopping.set()
        self._ready.set()
        for client in self._clients:
            _cut(client)

    def _pass_on(self, record: Record) -> None:
        self._vector[record.partition] = record.offset + 1
        for client in list(self._clients):
            if client.full():
                self._clients.discard(client)
                _cut(client)
            else:
                client.put_nowait(record)

    def stream(self, after: str | None, wanted: Wanted) -> AsyncIterator[tuple[str, Event[Any]]]:
        """(id, event) of what is wanted: everything after the id `after`, or from now on. Ends at shutdown, or when
        the client is too slow. Raises InvalidInput at once for what is not an id of this topic's feeds. Which
        workspace's events go out is for `wanted` to say."""
        return self._stream(self.parse(after) if after else None, wanted)

    async def _stream(self, vector: Vector | None, wanted: Wanted) -> AsyncIterator[tuple[str, Event[Any]]]:
        await self._ready.wait()
        if self._stopping.is_set():
            return
        queue: asyncio.Queue[Record | None] = asyncio.Queue(_QUEUE + 1)
        self._clients.add(queue)
        try:
            live = dict(self._vector)
            seen: Vector = dict(live) if vector is None else await self._known(vector, live)
            async for record in self._missed(seen, live):
                if found := _event(record, wanted):
                    yield _spell(seen), found
            while (live_record := await queue.get()) is not None:
                if live_record.offset >= seen[live_record.partition]:
                    seen[live_record.partition] = live_record.offset + 1
                    if found := _event(live_record, wanted):
                        yield _spell(seen), found
        finally:
            self._clients.discard(queue)

    async def _known(self, vector: Vector, live: Vector) -> Vector:
        """Where to go on. Another process may have seen a little more than we have; what is beyond the log itself
        (restored from a backup) begins at its end."""
        seen = {partition: vector.get(partition, 0) for partition in live}
        if any(seen[partition] > live[partition] for partition in live):
            ends = await self._bus.offsets(self._topic.name)
            seen = {partition: min(offset, ends[partition][1]) for partition, offset in seen.items()}
        return seen

    async def _missed(self, seen: Vector, live: Vector) -> AsyncIterator[Record]:
        for partition, end in live.items():
            while seen[partition] < end and not self._stopping.is_set():
                tp = TopicPartition(self._topic.name, partition)
                records = await self._bus.read(tp, seen[partition], min(_PAGE, end - seen[partition]))
                if not records:
                    seen[partition] = end
                for record in records:
                    seen[partition] = record.offset + 1
                    yield record

    def parse(self, text: str) -> Vector:
        """The vector of an id. Raises InvalidInput."""
        pairs = [pair.split(".") for pair in text.split("-")] if _ID.fullmatch(text) else []
        vector = {int(partition): int(offset) for partition, offset in pairs}
        if not vector or max(vector) >= self._topic.partitions:
            raise InvalidInput(
                "Last-Event-ID is not one of ours; leave it out to start from now",
                faults=[Fault("Last-Event-ID", "not an id of this stream")],
            )
        return vector


def _spell(vector: Vector) -> str:
    return "-".join(f"{partition}.{offset}" for partition, offset in sorted(vector.items()) if offset) or "0.0"


def _event(record: Record, wanted: Wanted) -> Event[Any] | None:
    try:
        event = codec.decode(record)
    except BadRecord:
        return None  # parked by the consumers that need it; a stream shows what can be read
    return event if wanted(event) else None


def _cut(client: asyncio.Queue[Record | None]) -> None:
    while not client.empty():  # all of it: an id that is given out covers every event before it
        client.get_nowait()
    client.put_nowait(None)
