"""One consumer: where it starts, what it may see when, pausing, memory, waking up."""

import asyncio
import statistics
import time
import tracemalloc

from shared.bus.port import Bus, Message, OffsetOutOfRange, Producer, TopicPartition
from tests.support.bus import Listener, collect, consuming, new_topic, numbered
from tests.support.poll import eventually

MIB = 1024 * 1024


async def test_it_starts_where_assigned_says(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    await producer.send(numbered(topic, 10))
    async with consuming(bus, name, topic, Listener(start=7)) as consumer:
        records = await collect(consumer, 3)
        assert [record.offset for record in records] == [7, 8, 9]
        await producer.send(numbered(topic, 2, first=10))
        assert [record.value for record in await collect(consumer, 2)] == [b"10", b"11"]


async def test_nothing_is_handed_out_before_assigned_has_returned(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 2)
    await producer.send(numbered(topic, 40))
    listener = Listener(start=5)
    listener.gate.clear()
    async with consuming(bus, name, topic, listener) as consumer:
        early: list[object] = []

        async def asked() -> bool:
            early.append(await consumer.fetch(100, 0.2))
            return listener.calls > 0 and len(early) > 4

        await eventually(asked, timeout=20)
        assert not any(early)
        listener.gate.set()
        ends = {number: end for number, (_, end) in (await bus.offsets(topic)).items()}
        records = await collect(consumer, sum(ends.values()) - 10)
        for number, end in ends.items():
            assert [r.offset for r in records if r.partition == number] == list(range(5, end))


async def test_what_assigned_raises_comes_out_of_fetch(bus: Bus, name: str) -> None:
    class Broken(Listener):
        async def assigned(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
            raise LookupError("no position")

    topic = await new_topic(bus, name, 1)
    async with consuming(bus, name, topic, Broken()) as consumer:

        async def fails() -> bool:
            try:
                await consumer.fetch(10, 0.2)
            except LookupError as error:
                return str(error) == "no position"
            return False  # not joined yet

        await eventually(fails, timeout=30)


async def test_replay_from_an_offset(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    await producer.send(numbered(topic, 30))
    async with consuming(bus, name, topic, Listener()) as consumer:
        assert [r.offset for r in await collect(consumer, 30, batch=7)] == list(range(30))
        for start in (10, 0, 29):
            consumer.seek(TopicPartition(topic, 0), start)
            assert [r.offset for r in await collect(consumer, 30 - start, batch=7)] == list(range(start, 30))
        consumer.seek(TopicPartition(topic, 0), 20)
        assert [r.offset for r in (await consumer.fetch(3, 5))[TopicPartition(topic, 0)]] == [20, 21, 22]
        consumer.seek(TopicPartition(topic, 0), 5)  # what was fetched ahead of 23 is dropped
        assert [r.offset for r in await collect(consumer, 25)] == list(range(5, 30))


async def test_a_position_outside_the_log_is_an_error_and_not_a_skip(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    await producer.send(numbered(topic, 3))
    async with consuming(bus, name, topic, Listener(start=1000)) as consumer:

        async def fails() -> bool:
            try:
                await consumer.fetch(10, 0.5)
            except OffsetOutOfRange:
                return True
            return False  # not joined yet

        await eventually(fails, timeout=30)


async def test_a_paused_partition_stays_ours_and_says_nothing(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 2)
    quiet, loud = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with consuming(bus, name, topic, Listener()) as consumer:
        await eventually(lambda: consumer.assignment() == {quiet, loud}, timeout=20)
        consumer.pause(quiet)
        await producer.send(numbered(topic, 100))
        ends = {number: end for number, (_, end) in (await bus.offsets(topic)).items()}
        assert {r.partition for r in await collect(consumer, ends[1])} == {1}
        assert await consumer.fetch(100, 0.3) == {}
        assert consumer.assignment() == {quiet, loud}
        consumer.resume(quiet)
        assert [r.offset for r in await collect(consumer, ends[0])] == list(range(ends[0]))


async def test_high_water_and_commit(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 3)
    await producer.send(numbered(topic, 60))
    async with consuming(bus, name, topic, Listener()) as consumer:
        await collect(consumer, 60)
        water = await consumer.high_water()
        assert {p.partition: end for p, end in water.items()} == {
            number: end for number, (_, end) in (await bus.offsets(topic)).items()
        }
        await consumer.commit(water)
        await consumer.commit(water)


async def test_fetch_returns_after_its_timeout(bus: Bus, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    async with consuming(bus, name, topic, Listener()) as consumer:
        await eventually(consumer.assignment, timeout=20)
        async with asyncio.timeout(5):
            assert await consumer.fetch(10, 0.2) == {}


async def test_at_most_max_records_a_partition(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 4)
    await producer.send(numbered(topic, 400))
    async with consuming(bus, name, topic, Listener()) as consumer:
        found = 0
        while found < 400:
            fetched = await consumer.fetch(9, 5)
            assert all(0 < len(records) <= 9 for records in fetched.values())
            found += sum(map(len, fetched.values()))


async def test_memory_stays_bounded_under_a_slow_handler(bus: Bus, producer: Producer, name: str) -> None:
    """60 MiB lie in the log; what a consumer holds that takes them in small bites is a constant, far below."""
    topic = await new_topic(bus, name, 6)
    body = b"x" * 100_000
    for n in range(0, 600, 20):
        await producer.send([Message(topic, b"key-%d" % (n + i), body) for i in range(20)])
    async with consuming(bus, name, topic, Listener()) as consumer:
        await eventually(consumer.assignment, timeout=20)
        tracemalloc.start()
        try:
            found = 0
            while found < 600:
                found += sum(map(len, (await consumer.fetch(3, 5)).values()))
                await bus.offsets(topic)  # the handler's time, in which a consumer may fetch ahead
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    print(f"\npeak {peak / MIB:.1f} MiB for 57 MiB")
    assert peak < 30 * MIB


async def test_a_waiting_fetch_wakes_up_at_once(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 4)
    async with consuming(bus, name, topic, Listener()) as consumer:
        await eventually(consumer.assignment, timeout=20)
        await producer.send([Message(topic, b"first", b"")])
        await collect(consumer, 1)
        waits: list[float] = []
        for n in range(21):
            assert await consumer.fetch(10, 0.02) == {}
            waiting = asyncio.create_task(consumer.fetch(10, 5))
            await producer.send([Message(topic, b"key-%d" % n, b"")])
            durable = time.perf_counter()
            assert await waiting
            waits.append(time.perf_counter() - durable)
    print(f"\nmedian {statistics.median(waits) * 1000:.1f} ms, worst {max(waits) * 1000:.1f} ms")
    assert statistics.median(waits) <= 0.050
