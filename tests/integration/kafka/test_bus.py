"""What only Kafka can do wrong while the broker is well: a poisoned producer, records from before the seek."""

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from uuid import uuid4

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, RequestTimedOutError
from aiokafka.partitioner import murmur2 as aiokafka_murmur2

from shared.bus.kafka import KafkaBus, servers_of
from shared.bus.kafka import consumer as kafka_consumer
from shared.bus.kafka import producer as kafka_producer
from shared.bus.kafka.producer import KafkaProducer
from shared.bus.partition import murmur2, partition_of
from shared.bus.port import BusUnavailable, Message, OffsetOutOfRange, TopicPartition
from shared.contracts.topics import Topic
from shared.core.errors import NotFound
from shared.core.settings import SettingsError
from tests.support.bus import Listener, collect, consuming, new_topic
from tests.support.kafka import values
from tests.support.poll import eventually

pytestmark = pytest.mark.kafka


async def test_numbers_that_the_broker_does_not_expect_begin_anew_and_the_send_succeeds(
    bus: KafkaBus, producer: KafkaProducer, topic: str
) -> None:
    await producer.send([Message(topic, b"k", b"before")])
    assert producer._link
    # What a lost batch leaves behind: sequence numbers that the broker will never see (T1, T2).
    producer._link._sequences[TopicPartition(topic, 0)] += 5
    await asyncio.gather(*(producer.send([Message(topic, b"k", b"%d" % n)]) for n in range(20)))
    assert producer._link._epochs[TopicPartition(topic, 0)] == 1
    await producer.send([Message(topic, b"k", b"after")])
    assert await values(bus, topic) == [b"before", *(b"%d" % n for n in range(20)), b"after"]


async def test_a_batch_that_was_given_up_is_refused_when_it_comes_late(
    bus: KafkaBus, producer: KafkaProducer, topic: str
) -> None:
    link, partition = producer._link, TopicPartition(topic, 0)
    await producer.send([Message(topic, b"k", b"before")])
    assert link
    assert link.fence(partition)
    await producer.send([Message(topic, b"k", b"after")])
    link._epochs[partition], link._sequences[partition] = 0, 1  # as when it was sent
    outcomes = await link.write(link.leader_of(partition) or 0, {partition: [Message(topic, b"k", b"late")]})
    assert isinstance(outcomes[partition], InvalidProducerEpoch)
    assert await values(bus, topic) == [b"before", b"after"]


async def test_what_comes_after_a_batch_that_was_given_up_is_written(
    bus: KafkaBus, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker has written the batch, and we never hear of it: its number must not come again for another one."""
    link = producer._link
    assert link
    write = link.write

    async def unheard(
        leader: int, batches: Mapping[TopicPartition, Sequence[Message]]
    ) -> dict[TopicPartition, KafkaError | None]:
        before = link._sequences.copy()
        await write(leader, batches)
        link._sequences = before
        return dict.fromkeys(batches, RequestTimedOutError())

    monkeypatch.setattr(link, "write", unheard)
    monkeypatch.setattr(kafka_producer, "SEND_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(kafka_producer, "_REST_SECONDS", 1.5)
    with pytest.raises(BusUnavailable):
        await producer.send([Message(topic, b"k", b"unknown")])
    monkeypatch.setattr(link, "write", write)
    monkeypatch.setattr(kafka_producer, "SEND_TIMEOUT_SECONDS", 15.0)
    await producer.send([Message(topic, b"k", b"after")])
    assert await values(bus, topic) == [b"unknown", b"after"]


async def test_a_batch_that_is_sent_again_is_the_same_batch(
    bus: KafkaBus, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = producer._link
    assert link
    write, sent = link.write, []

    async def unheard_at_first(
        leader: int, batches: Mapping[TopicPartition, Sequence[Message]]
    ) -> dict[TopicPartition, KafkaError | None]:
        sent.append([message.value for messages in batches.values() for message in messages])
        before = link._sequences.copy()
        outcomes = await write(leader, batches)
        if len(sent) > 1:
            return outcomes
        link._sequences = before
        return dict.fromkeys(batches, RequestTimedOutError())

    monkeypatch.setattr(link, "write", unheard_at_first)
    monkeypatch.setattr(kafka_producer, "_REST_SECONDS", 1.5)
    first = asyncio.create_task(producer.send([Message(topic, b"k", b"first")]))
    await eventually(lambda: producer._ready)
    await asyncio.gather(first, producer.send([Message(topic, b"k", b"second")]))
    assert sent == [[b"first"], [b"first"], [b"second"]]
    assert await values(bus, topic) == [b"first", b"second"]


async def test_a_link_that_is_given_up_at_the_moment_of_a_request_is_replaced(
    bus: KafkaBus, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await producer.send([Message(topic, b"k", b"before")])
    monkeypatch.setattr(kafka_producer, "PACE_SECONDS", 60.0)
    waiting = asyncio.create_task(producer.send([Message(topic, b"k", b"after")]))
    await eventually(lambda: producer._aboard)
    assert producer._link
    producer._depart()
    producer._discard(producer._link, "a test")  # before the request's task has begun
    async with asyncio.timeout(10):
        await waiting
    assert producer.renewals == 1
    assert await values(bus, topic) == [b"before", b"after"]


async def test_a_link_without_epochs_left_is_replaced(bus: KafkaBus, producer: KafkaProducer, topic: str) -> None:
    link, partition = producer._link, TopicPartition(topic, 0)
    assert link
    link._epochs[partition] = 2**15 - 1
    await producer.send([Message(topic, b"k", b"before")])
    link._sequences[partition] += 5
    await producer.send([Message(topic, b"k", b"after")])
    assert producer.renewals == 1
    assert await values(bus, topic) == [b"before", b"after"]


async def test_a_batch_that_the_broker_refuses_for_good_fails_alone(
    bus: KafkaBus, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_limit(messages: Sequence[Message]) -> list[int]:
        return [len(message.value) for message in messages]

    monkeypatch.setattr(kafka_producer, "refuse_oversized", no_limit)
    with pytest.raises(BusUnavailable, match="MessageSizeTooLarge"):
        await producer.send([Message(topic, b"k", os.urandom(1024 * 1024))])
    await producer.send([Message(topic, b"k", b"after")])
    assert await values(bus, topic) == [b"after"]


async def test_a_trickle_over_partitions_leaves_together_and_a_full_load_at_once(
    bus: KafkaBus, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(bus, f"test.{uuid4()}", 4)
    await producer.send([Message(topic, b"first", b"alone")])  # nobody left before it: it need not wait
    monkeypatch.setattr(kafka_producer, "PACE_SECONDS", 60.0)
    keys = [b"%d" % n for n in range(kafka_producer._FULL)]
    trickle = [asyncio.create_task(producer.send([Message(topic, key, b"v")])) for key in keys[1:]]
    await eventually(lambda: producer._aboard == len(trickle))
    assert not any(task.done() for task in trickle)
    async with asyncio.timeout(15):  # the last place is taken: they do not wait for the minute
        await asyncio.gather(producer.send([Message(topic, keys[0], b"v")]), *trickle)
    assert {partition_of(key, 4) for key in keys} == {0, 1, 2, 3}
    assert sum(end for _, end in (await bus.offsets(topic)).values()) == 1 + len(keys)


async def test_a_send_to_a_topic_that_is_not_there_says_so(
    producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert producer._link
    monkeypatch.setattr(producer._link.client, "_request_timeout_ms", 200)  # how long aiokafka looks for it
    with pytest.raises(NotFound):
        await producer.send([Message("test.never.created", b"k", b"v")])


async def test_a_late_answer_about_new_topics_does_not_end_their_creation(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    bounds = bus._bounds

    async def late_at_first(partitions: Sequence[KafkaPartition]) -> dict[int, tuple[int, int]]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise BusUnavailable("Kafka did not answer in time")
        return await bounds(partitions)

    monkeypatch.setattr(bus, "_bounds", late_at_first)
    topic = await new_topic(bus, f"test.{uuid4()}", 2)
    assert asked == 2
    assert len(await bus.offsets(topic)) == 2


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
    topic = await new_topic(bus, f"test.{uuid4()}", 5)
    keys = [b"key-%d" % n for n in range(200)]
    await producer.send([Message(topic, key, key) for key in keys])
    for partition in range(5):
        here = [key for key in keys if partition_of(key, 5) == partition]
        assert await values(bus, topic, partition) == here


async def test_the_start_is_where_assigned_says_and_not_where_kafka_was_told(
    bus: KafkaBus, producer: KafkaProducer, topic: str
) -> None:
    """aiokafka begins to fetch from the committed offset while `assigned` still looks the position up (T7)."""
    group, partition = f"group.{uuid4()}", TopicPartition(topic, 0)
    await producer.send([Message(topic, b"k", b"%d" % n) for n in range(20)])
    async with consuming(bus, group, topic, Listener()) as first:
        await collect(first, 20)
        await first.commit({partition: 3})
    listener = Listener(start=10)
    listener.gate.clear()
    async with consuming(bus, group, topic, listener) as second:
        await eventually(lambda: listener.calls)
        assert await second.fetch(100, 0.5) == {}
        listener.gate.set()
        assert [record.offset for record in await collect(second, 10)] == list(range(10, 20))


async def test_an_offset_that_is_not_there_is_an_error_until_a_seek(
    bus: KafkaBus, producer: KafkaProducer, topic: str
) -> None:
    await producer.send([Message(topic, b"k", b"v")])
    partition = TopicPartition(topic, 0)
    async with consuming(bus, f"group.{uuid4()}", topic, Listener(start=1_000)) as consumer:
        with pytest.raises(OffsetOutOfRange, match="1000"):
            await collect(consumer, 1)
        consumer.seek(partition, 0)
        assert (await collect(consumer, 1))[0].value == b"v"


async def test_a_topic_that_is_created_later_is_seen(
    bus: KafkaBus, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kafka_consumer.GROUP_SETTINGS, "metadata_max_age_ms", 500)
    topic = Topic(f"test.{uuid4()}", owner="tests", key="any", partitions=2)
    async with consuming(bus, f"group.{uuid4()}", topic.name, Listener()) as consumer:
        assert await consumer.fetch(1, 0.5) == {}
        await bus.create_topics([topic])
        await producer.send([Message(topic.name, b"k", b"v")])
        assert (await collect(consumer, 1))[0].value == b"v"


async def test_a_member_that_was_held_up_for_too_long_joins_again(
    bus: KafkaBus, producer: KafkaProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the database is away for longer than max_poll_interval: nobody fetches, and the member leaves (T12)."""
    monkeypatch.setitem(kafka_consumer.GROUP_SETTINGS, "max_poll_interval_ms", 2_000)
    async with consuming(bus, f"group.{uuid4()}", topic, Listener()) as consumer:
        await producer.send([Message(topic, b"k", b"before")])
        await collect(consumer, 1)
        await eventually(lambda: not consumer.assignment(), timeout=20)
        await producer.send([Message(topic, b"k", b"after")])
        assert [record.value for record in await collect(consumer, 2)] == [b"before", b"after"]


def test_the_url_names_brokers() -> None:
    assert servers_of("kafka://a:9092,b:9093") == ["a:9092", "b:9093"]
    for wrong in ("kafka://", "kafka://a", "kafka://a:x", "http://a:9092", "kafka://user@a:9092", "kafka://a:1/x"):
        with pytest.raises(SettingsError):
            servers_of(wrong)
