"""A Kafka broker that is down, frozen or restarted: every call ends, nothing acked is lost, all goes on by itself."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiokafka.client
import pytest

from deploy.kafka.broker import KafkaBroker, answers
from shared.bus.kafka import KafkaBus
from shared.bus.kafka import producer as kafka_producer
from shared.bus.kafka.producer import KafkaProducer
from shared.bus.port import BusUnavailable, Consumer, Message
from tests.support.bus import Listener, collect, consuming, new_topic
from tests.support.kafka import own_broker, values
from tests.support.poll import eventually

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    """A broker of this file's own; a test that breaks it brings it back."""
    with own_broker() as broker:
        yield broker


@pytest.fixture
def bootstrap(broker: KafkaBroker) -> str:
    return broker.bootstrap


@asynccontextmanager
async def frozen(broker: KafkaBroker) -> AsyncIterator[None]:
    """A broker that is there but does nothing; afterwards it is back with all it needs."""
    assert broker.pid
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        await eventually(lambda: stands_still(broker.pid or 0))
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)
        host, port = broker.bootstrap.split(":")
        await eventually(lambda: answers(host, int(port)), timeout=20)


def stands_still(pid: int) -> bool:
    """Whether a signal to stop has reached every thread: on full cores one may go on for a while."""
    stats = [Path(task, "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rsplit(")", 1)[1].split()[0] == "T" for stat in stats)


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


async def test_stop_returns_with_the_broker_down(
    bus: KafkaBus, broker: KafkaBroker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, producer = KafkaBus(f"kafka://{broker.bootstrap}"), bus.producer()
    await other.start()
    await producer.start()
    await producer.send([Message(topic, b"k", b"v")])
    consumer = bus.consumer("down", [topic], Listener())
    await consumer.start()
    await collect(consumer, 1)
    fetching = asyncio.create_task(consumer.fetch(10, 60))
    broker.kill()
    try:
        waiting = asyncio.create_task(producer.send([Message(topic, b"k", b"never")]))
        await eventually(lambda: producer._busy)
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
    consumer = bus.consumer("frozen", [topic], Listener())
    await consumer.start()
    await collect(consumer, 1)
    async with frozen(broker):
        waiting = asyncio.create_task(producer.send([Message(topic, b"k", b"unknown")]))
        await eventually(lambda: producer._busy)
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
    async with consuming(bus, f"group.{uuid4()}", topic, Listener()) as consumer:
        await collect(consumer, 1)
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


async def last_seen(consumer: Consumer, value: bytes) -> bool:
    """Whether the newest record that is handed out has this value."""
    return any(records[-1].value == value for records in (await consumer.fetch(1000, 1)).values())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_a_broker_restart_under_load_loses_nothing_acked(
    bus: KafkaBus, broker: KafkaBroker, producer: KafkaProducer, how: str
) -> None:
    topic = await new_topic(bus, f"test.{uuid4()}", 3)
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

    async def consume(consumer: Consumer) -> None:
        while True:
            for records in (await consumer.fetch(500, 1)).values():
                for record in records:
                    seen.setdefault(record.key, []).append(record.value)

    async with consuming(bus, f"group.{uuid4()}", topic, Listener()) as consumer:
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
