"""What only Kafka can do wrong: a poisoned producer, a broker down, frozen or restarted, records before the seek."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import aiokafka.client
import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2

from deploy.kafka.broker import KafkaBroker, answers
from shared.bus import kafka_consumer, kafka_producer
from shared.bus.kafka import KafkaBus, servers_of
from shared.bus.kafka_consumer import KafkaConsumer
from shared.bus.kafka_producer import KafkaProducer
from shared.bus.partition import murmur2, partition_of
from shared.bus.port import BusUnavailable, Message, OffsetOutOfRange, RebalanceListener, Record, TopicPartition
from shared.contracts.topics import Topic
from shared.core.errors import NotFound
from shared.core.settings import SettingsError
from tests.support.kafka import own_broker
from tests.support.poll import eventually

pytestmark = pytest.mark.kafka


class Starts:
    """A listener that starts every partition where the test says (0 by default), and waits for the test if told."""

    def __init__(self, starts: Mapping[TopicPartition, int] | None = None) -> None:
        self.starts = dict(starts or {})
        self.proceed = asyncio.Event()
        self.proceed.set()
        self.asked = 0

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked += 1
        await self.proceed.wait()
        return {partition: self.starts.get(partition, 0) for partition in partitions}

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        pass


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    """A broker of this file's own; a test that breaks it brings it back."""
    with own_broker() as broker:
        yield broker


@pytest.fixture
async def bus(broker: KafkaBroker) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(f"kafka://{broker.bootstrap}")
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
async def producer(bus: KafkaBus) -> AsyncIterator[KafkaProducer]:
    producer = bus.producer()
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
async def topic(bus: KafkaBus) -> str:
    """A new topic with one partition."""
    return await created(bus, partitions=1)


async def created(bus: KafkaBus, partitions: int) -> str:
    name = f"test.{uuid4()}"
    await bus.create_topics([Topic(name, owner="tests", key="any", partitions=partitions)])
    return name


@asynccontextmanager
async def consuming(
    bus: KafkaBus, topic: str, listener: RebalanceListener | None = None
) -> AsyncIterator[KafkaConsumer]:
    consumer = bus.consumer(f"group.{uuid4()}", [topic], listener or Starts())
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def first_record(consumer: KafkaConsumer, within: float = 30) -> Record:
    """The next record that is handed out."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        for records in (await consumer.fetch(1, 1)).values():
            return records[0]
    raise AssertionError("no record came")


async def values(bus: KafkaBus, topic: str, partition: int = 0) -> list[bytes]:
    """All that a partition holds."""
    _, end = (await bus.offsets(topic))[partition]
    records: list[Record] = []
    while len(records) < end:
        records += await bus.read(TopicPartition(topic, partition), len(records), 10_000)
    return [record.value for record in records]


@asynccontextmanager
async def frozen(broker: KafkaBroker) -> AsyncIterator[None]:
    """A broker that is there but does nothing; afterwards it is back with all it needs."""
    assert broker.pid
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)
        host, port = broker.bootstrap.split(":")
        await eventually(lambda: answers(host, int(port)), timeout=20)


# the producer


async def test_a_poisoned_producer_is_replaced_and_the_send_succeeds(
    bus: KafkaBus, producer: KafkaProducer, topic: str
) -> None:
    await producer.send([Message(topic, b"k", b"before")])
    assert producer._link
    # What a lost batch leaves behind: sequence numbers that the broker will never see (T1, T2).
    producer._link.producer._txn_manager.increment_sequence_number(TopicPartition(topic, 0), 5)
    await asyncio.gather(*(producer.send([Message(topic, b"k", b"%d" % n)]) for n in range(20)))
    assert producer.renewals == 1
    await producer.send([Message(topic, b"k", b"after")])
    assert await values(bus, topic) == [b"before", *(b"%d" % n for n in range(20)), b"after"]


async def test_a_batch_that_the_broker_refuses_for_good_fails_alone(
    bus: KafkaBus, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_limit(messages: object) -> None: ...

    monkeypatch.setattr(kafka_producer, "refuse_oversized", no_limit)
    with pytest.raises(BusUnavailable, match="MessageSizeTooLarge"):
        await producer.send([Message(topic, b"k", os.urandom(1024 * 1024))])
    await producer.send([Message(topic, b"k", b"after")])
    assert await values(bus, topic) == [b"after"]


async def test_a_send_to_a_topic_that_is_not_there_says_so(
    producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert producer._link
    monkeypatch.setattr(producer._link.producer.client, "_request_timeout_ms", 200)  # how long aiokafka looks for it
    with pytest.raises(NotFound):
        await producer.send([Message("test.never.created", b"k", b"v")])


async def test_a_frozen_broker_leaves_a_send_unknown_and_later_sends_work(
    bus: KafkaBus, broker: KafkaBroker, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_producer, "SEND_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(kafka_producer, "STALL_SECONDS", 0.5)
    await producer.send([Message(topic, b"k", b"before")])
    async with frozen(broker):
        began = time.monotonic()
        with pytest.raises(BusUnavailable):
            await producer.send([Message(topic, b"k", b"unknown")])
        assert time.monotonic() - began < 3
    monkeypatch.setattr(kafka_producer, "SEND_TIMEOUT_SECONDS", 15.0)
    await producer.send([Message(topic, b"k", b"after")])
    assert producer.renewals == 1  # nothing was confirmed for the stall time
    assert await values(bus, topic) in ([b"before", b"after"], [b"before", b"unknown", b"after"])


async def test_a_full_queue_makes_senders_wait_and_drops_nothing(
    bus: KafkaBus, broker: KafkaBroker, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_producer, "HELD_BYTES", 100_000)
    await producer.send([Message(topic, b"k", b"first")])
    async with frozen(broker):
        payload = os.urandom(10_000)
        sends = [asyncio.create_task(producer.send([Message(topic, b"k", payload)])) for _ in range(50)]
        await eventually(lambda: producer._held >= 100_000)
        assert producer._held < 100_000 + 2 * len(payload)
    await asyncio.gather(*sends)
    assert await values(bus, topic) == [b"first"] + [payload] * 50
    assert producer._held == 0


async def test_the_partitioner_is_the_java_clients() -> None:
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    java = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        bytes([97, 98, 99]): 479470107,
    }
    assert {key: murmur2(key) for key in java} == {key: value & 0xFFFFFFFF for key, value in java.items()}
    keys = [random.Random(n).randbytes(n % 50) for n in range(500)]
    assert [murmur2(key) for key in keys] == [aiokafka_murmur2(key) & 0xFFFFFFFF for key in keys]


async def test_records_lie_where_the_partitioner_says(bus: KafkaBus, producer: KafkaProducer) -> None:
    topic = await created(bus, partitions=5)
    keys = [b"key-%d" % n for n in range(200)]
    await producer.send([Message(topic, key, key) for key in keys])
    for partition in range(5):
        here = [key for key in keys if partition_of(key, 5) == partition]
        assert await values(bus, topic, partition) == here


# the consumer


async def test_nothing_is_handed_out_before_the_seek(bus: KafkaBus, producer: KafkaProducer, topic: str) -> None:
    await producer.send([Message(topic, b"k", b"%d" % n) for n in range(20)])
    partition = TopicPartition(topic, 0)
    async with consuming(bus, topic) as first:
        assert (await first_record(first)).offset == 0
        await first.commit({partition: 3})  # where aiokafka would start by itself
        group = first._group
    listener = Starts({partition: 10})
    listener.proceed.clear()
    second = bus.consumer(group, [topic], listener)
    await second.start()
    try:
        await eventually(lambda: listener.asked)
        assert await second.fetch(100, 0.5) == {}
        listener.proceed.set()
        assert (await first_record(second)).offset == 10
    finally:
        await second.stop()


async def test_a_rebalance_during_a_fetch_loses_and_repeats_nothing(
    bus: KafkaBus, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kafka_consumer.GROUP_SETTINGS, "heartbeat_interval_ms", 300)
    topic = await created(bus, partitions=4)
    group = f"group.{uuid4()}"
    positions: dict[TopicPartition, int] = {}  # as the table of positions: one truth for all members
    seen: list[tuple[int, int]] = []
    listener = Shared(positions)
    members = [bus.consumer(group, [topic], listener) for _ in range(3)]
    ended = asyncio.Event()

    async def work(member: KafkaConsumer) -> None:
        await member.start()
        while not ended.is_set():
            for partition, records in (await member.fetch(7, 0.2)).items():
                if records[0].offset == positions.get(partition, 0):
                    seen.extend((partition.partition, record.offset) for record in records)
                    positions[partition] = records[-1].offset + 1

    async def load() -> None:
        for n in range(60):
            await producer.send([Message(topic, b"%d" % key, b"%d" % n) for key in range(20)])

    workers = []
    for member in members:
        workers.append(asyncio.create_task(work(member)))
        await load()
    await eventually(lambda: len(seen) >= 3 * 60 * 20, timeout=30)
    ended.set()
    await asyncio.gather(*workers)
    for member in members:
        await member.stop()
    ends = await bus.offsets(topic)
    assert sorted(seen) == [(partition, offset) for partition in ends for offset in range(ends[partition][1])]


class Shared(Starts):
    """Starts where the shared positions say."""

    def __init__(self, positions: dict[TopicPartition, int]) -> None:
        super().__init__()
        self.starts = positions


async def test_an_offset_that_is_not_there_is_an_error_until_a_seek(
    bus: KafkaBus, producer: KafkaProducer, topic: str
) -> None:
    await producer.send([Message(topic, b"k", b"v")])
    partition = TopicPartition(topic, 0)
    async with consuming(bus, topic, Starts({partition: 1_000})) as consumer:
        with pytest.raises(OffsetOutOfRange, match="1000"):
            await first_record(consumer)
        consumer.seek(partition, 0)
        assert (await first_record(consumer)).value == b"v"


async def test_a_topic_that_is_created_later_is_seen(
    bus: KafkaBus, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kafka_consumer.GROUP_SETTINGS, "metadata_max_age_ms", 500)
    topic = Topic(f"test.{uuid4()}", owner="tests", key="any", partitions=2)
    async with consuming(bus, topic.name) as consumer:
        assert await consumer.fetch(1, 0.5) == {}
        await bus.create_topics([topic])
        await producer.send([Message(topic.name, b"k", b"v")])
        assert (await first_record(consumer)).value == b"v"


# outages


async def test_stop_returns_with_the_broker_down(
    bus: KafkaBus, broker: KafkaBroker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, producer = KafkaBus(f"kafka://{broker.bootstrap}"), bus.producer()
    await other.start()
    await producer.start()
    await producer.send([Message(topic, b"k", b"v")])
    consumer = bus.consumer("down", [topic], Starts())
    await consumer.start()
    await first_record(consumer)
    fetching = asyncio.create_task(consumer.fetch(10, 60))
    broker.kill()
    try:
        waiting = asyncio.create_task(producer.send([Message(topic, b"k", b"never")]))
        await eventually(lambda: producer._in_flight)
        for stop in (producer.stop, consumer.stop, other.stop):
            began = time.monotonic()
            await stop()
            assert time.monotonic() - began <= 6
        with pytest.raises(BusUnavailable):
            await waiting
        fetching.cancel()
        unreachable = KafkaBus(f"kafka://{broker.bootstrap}")
        with pytest.raises(BusUnavailable, match="out of reach"):
            await unreachable.start()
        late = bus.producer()
        with pytest.raises(BusUnavailable, match="out of reach"):
            await late.start()
    finally:
        broker.start()


async def test_stop_returns_with_the_broker_frozen(bus: KafkaBus, broker: KafkaBroker, topic: str) -> None:
    producer = bus.producer()
    await producer.start()
    await producer.send([Message(topic, b"k", b"v")])
    consumer = bus.consumer("frozen", [topic], Starts())
    await consumer.start()
    await first_record(consumer)
    async with frozen(broker):
        waiting = asyncio.create_task(producer.send([Message(topic, b"k", b"unknown")]))
        await eventually(lambda: producer._in_flight)
        for stop in (producer.stop, consumer.stop):
            began = time.monotonic()
            await stop()
            assert time.monotonic() - began <= 6
        with pytest.raises(BusUnavailable):
            await waiting


async def test_an_outage_is_waited_for_at_a_pace(
    bus: KafkaBus, broker: KafkaBroker, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an orderly shutdown the clients have seen partitions without a leader, the worst case."""
    await producer.send([Message(topic, b"k", b"v")])
    async with consuming(bus, topic) as consumer:
        await first_record(consumer)
        monkeypatch.setattr(kafka_producer, "SEND_TIMEOUT_SECONDS", 1.0)
        attempts: list[tuple[object, ...]] = []

        async def counted(*arguments: object, **options: object) -> object:
            attempts.append(arguments)
            return await create_connection(*arguments, **options)

        create_connection = aiokafka.client.create_conn
        monkeypatch.setattr(aiokafka.client, "create_conn", counted)
        shutdown = asyncio.create_task(asyncio.to_thread(broker.shut_down))
        try:
            while not shutdown.done():
                with suppress(BusUnavailable):
                    await producer.send([Message(topic, b"k", b"v")])
            attempts.clear()
            with pytest.raises(BusUnavailable):
                await producer.send([Message(topic, b"k", b"v")])
            assert len(attempts) < 100
        finally:
            await shutdown
            broker.start()
        monkeypatch.setattr(kafka_producer, "SEND_TIMEOUT_SECONDS", 15.0)
        await producer.send([Message(topic, b"k", b"last")])
        await eventually(lambda: last_seen(consumer, b"last"), timeout=30)


async def last_seen(consumer: KafkaConsumer, value: bytes) -> bool:
    """Whether the newest record that is handed out has this value."""
    return any(records[-1].value == value for records in (await consumer.fetch(1000, 1)).values())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_a_broker_restart_under_load_loses_nothing_acked(
    bus: KafkaBus, broker: KafkaBroker, producer: KafkaProducer, how: str
) -> None:
    topic = await created(bus, partitions=3)
    acked: list[tuple[bytes, bytes]] = []
    unknown = 0
    seen: dict[bytes, list[bytes]] = {}
    ended = asyncio.Event()

    async def send(key: bytes) -> None:
        nonlocal unknown
        for n in range(1_000_000):
            if ended.is_set():
                return
            value = b"%d" % n
            try:
                await producer.send([Message(topic, key, value)])
                acked.append((key, value))
            except BusUnavailable:
                unknown += 1

    async def consume(consumer: KafkaConsumer) -> None:
        while True:
            for records in (await consumer.fetch(500, 1)).values():
                for record in records:
                    seen.setdefault(record.key, []).append(record.value)

    async with consuming(bus, topic) as consumer:
        consumer_task = asyncio.create_task(consume(consumer))
        senders = [asyncio.create_task(send(b"key-%d" % n)) for n in range(10)]
        await eventually(lambda: len(acked) > 500, timeout=20)
        if how == "crash":
            broker.kill()
        await asyncio.to_thread(broker.restart)
        after = len(acked) + 500
        await eventually(lambda: len(acked) > after, timeout=30)
        ended.set()
        await asyncio.gather(*senders)
        await eventually(lambda: all(value in seen.get(key, ()) for key, value in acked[-50:]), timeout=30)
        await eventually(lambda: set(acked) <= {(key, value) for key in seen for value in seen[key]}, timeout=30)
        consumer_task.cancel()
    for key, got in seen.items():
        firsts = [int(value) for value in dict.fromkeys(got)]
        assert firsts == sorted(firsts), f"{key!r} was reordered"


def test_the_url_names_brokers() -> None:
    assert servers_of("kafka://a:9092,b:9093") == ["a:9092", "b:9093"]
    for wrong in ("kafka://", "kafka://a", "kafka://a:x", "http://a:9092", "kafka://user@a:9092", "kafka://a:1/x"):
        with pytest.raises(SettingsError):
            servers_of(wrong)
