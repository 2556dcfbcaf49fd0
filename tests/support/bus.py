"""Consumers for tests: members of a group that keep their positions as a service does, in a ledger with a fence."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from shared.bus.port import Bus, BusUnavailable, Consumer, Message, Producer, Record, TopicPartition
from shared.contracts.topics import Topic


class BusFactory(Protocol):
    """Makes connections to one and the same bus, not started."""

    kind: str
    url: str

    def __call__(self) -> Bus: ...


class Listener:
    """Starts every partition at `start` and remembers what it was told. `gate` holds `assigned` back."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.gate = asyncio.Event()
        self.gate.set()
        self.owned: frozenset[TopicPartition] = frozenset()
        self.calls = 0

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.calls += 1
        await self.gate.wait()
        self.owned |= partitions
        return dict.fromkeys(partitions, self.start)

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self.owned -= partitions


class Ledger:
    """What a group has handled: the tests' stand-in for the positions and the fence in a service's database."""

    def __init__(self) -> None:
        self.owner: dict[TopicPartition, object] = {}
        self.position: dict[TopicPartition, int] = {}
        self.handled: list[tuple[object, Record]] = []
        self.fenced = 0
        self.gaps = 0

    def take(self, member: object, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        """A new owner: whoever had the partitions is fenced from here on."""
        self.owner.update(dict.fromkeys(partitions, member))
        return {partition: self.position.setdefault(partition, 0) for partition in partitions}

    def apply(self, member: object, partition: TopicPartition, records: Sequence[Record]) -> None:
        if self.owner.get(partition) is not member:
            self.fenced += 1
            return
        self.gaps += records[0].offset != self.position[partition]
        self.position[partition] = records[-1].offset + 1
        self.handled += [(member, record) for record in records]

    def values(self) -> list[bytes]:
        return [record.value for _, record in self.handled]

    def by(self, member: object) -> int:
        return sum(1 for who, _ in self.handled if who is member)


class Member:
    """One member of a group that handles what it gets until it is stopped."""

    def __init__(self, bus: Bus, group: str, topics: Sequence[str], ledger: Ledger) -> None:
        self.ledger = ledger
        self.consumer: Consumer = bus.consumer(group, topics, self)
        self._task: asyncio.Task[None] | None = None

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self.ledger.take(self, partitions)

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """The ledger's fence needs no goodbye."""

    def owned(self) -> frozenset[TopicPartition]:
        return self.consumer.assignment()

    async def start(self) -> None:
        await self.consumer.start()
        self._task = asyncio.create_task(self._handle())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        failed = task.done()
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        await self.consumer.stop()
        if failed and isinstance(outcome, Exception):
            raise outcome

    async def _handle(self) -> None:
        while True:
            try:
                fetched = await self.consumer.fetch(100, 0.2)
            except BusUnavailable:
                continue
            for partition, records in fetched.items():
                self.ledger.apply(self, partition, records)


@asynccontextmanager
async def member(bus: Bus, group: str, topic: str, ledger: Ledger) -> AsyncIterator[Member]:
    """A started member, stopped at the end."""
    one = Member(bus, group, [topic], ledger)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


@asynccontextmanager
async def consuming(bus: Bus, group: str, topic: str, listener: Listener) -> AsyncIterator[Consumer]:
    """A started consumer that the test fetches from by itself."""
    consumer = bus.consumer(group, [topic], listener)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def producing(bus: Bus) -> AsyncIterator[Producer]:
    """A started producer."""
    producer = bus.producer()
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def started(bus: Bus) -> AsyncIterator[Bus]:
    """A started bus."""
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def new_topic(bus: Bus, name: str, partitions: int) -> str:
    """Create the topic, say its name."""
    await bus.create_topics([Topic(name, owner="test", key="test", partitions=partitions)])
    return name


def numbered(topic: str, count: int, keys: int = 50, first: int = 0) -> list[Message]:
    """Messages whose value is their number; the key goes round."""
    return [Message(topic, b"key-%d" % (n % keys), b"%d" % n) for n in range(first, first + count)]


async def collect(consumer: Consumer, count: int, timeout: float = 15.0, batch: int = 100) -> list[Record]:
    """At least `count` records. AssertionError after `timeout` seconds."""
    found: list[Record] = []
    try:
        async with asyncio.timeout(timeout):
            while len(found) < count:
                for records in (await consumer.fetch(batch, 0.5)).values():
                    found += records
    except TimeoutError:
        raise AssertionError(f"{len(found)} of {count} records within {timeout:g} s") from None
    return found
