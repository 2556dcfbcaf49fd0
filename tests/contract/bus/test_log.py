"""Topics and records: order, offsets, bytes, limits, reading outside a group."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.partition import murmur2, partition_of, partitions_of
from shared.bus.port import MESSAGE_LIMIT_BYTES, Bus, Message, MessageTooLarge, Producer, Record, TopicPartition
from shared.core.errors import Conflict, NotFound
from tests.support.bus import new_topic, numbered, producing


async def whole_log(bus: Bus, topic: str) -> list[Record]:
    """Every record of a topic, partition by partition."""
    records: list[Record] = []
    for number, (start, after_last) in (await bus.offsets(topic)).items():
        partition, at = TopicPartition(topic, number), start
        while at < after_last and (page := await bus.read(partition, at, 1000)):
            records += page
            at = page[-1].offset + 1
    return records


# From org.apache.kafka.common.utils.UtilsTest; signed there.
@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_java_s(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@given(st.integers(0, 60).flatmap(lambda length: st.lists(st.binary(min_size=length, max_size=length), max_size=40)))
def test_keys_of_one_length_side_by_side(keys: list[bytes]) -> None:
    mixed = [*keys, b"another"]
    for some in (keys, mixed):
        assert partitions_of(some, 24) == [partition_of(key, 24) for key in some]


async def test_a_key_s_partition_is_the_java_client_s(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 7)
    keys = [b"", b"\x00", bytes(range(256)), *(b"customer-%d" % n for n in range(200))]
    await producer.send([Message(topic, key, b"value") for key in keys])
    records = await whole_log(bus, topic)
    assert len(records) == len(keys)
    assert {record.key: record.partition for record in records} == {key: partition_of(key, 7) for key in keys}


async def test_order_per_key_and_contiguous_offsets_under_concurrent_sends(
    bus: Bus, producer: Producer, name: str
) -> None:
    topic = await new_topic(bus, name, 5)

    async def customer(key: bytes) -> None:
        for n in range(0, 60, 3):
            await producer.send([Message(topic, key, b"%d" % (n + i)) for i in range(3)])

    keys = [b"customer-%d" % n for n in range(40)]
    await asyncio.gather(*(customer(key) for key in keys))
    records = await whole_log(bus, topic)
    for number in range(5):
        offsets = [record.offset for record in records if record.partition == number]
        assert offsets == list(range(len(offsets)))
    for key in keys:
        assert [int(record.value) for record in records if record.key == key] == list(range(60))


async def test_three_producers_share_a_partition_without_a_gap(bus: Bus, name: str) -> None:
    topic = await new_topic(bus, name, 1)

    async def sends(key: bytes) -> None:
        async with producing(bus) as producer:
            for n in range(50):
                await producer.send([Message(topic, key, b"%d" % n)])

    await asyncio.gather(*(sends(b"%d" % n) for n in range(3)))
    records = await whole_log(bus, topic)
    assert [record.offset for record in records] == list(range(150))
    for n in range(3):
        assert [int(r.value) for r in records if r.key == b"%d" % n] == list(range(50))


@pytest.mark.parametrize("key", [b"", b"k", bytes(range(256))], ids=["empty", "short", "binary"])
async def test_bytes_and_headers_come_back_as_they_were(bus: Bus, producer: Producer, name: str, key: bytes) -> None:
    topic = await new_topic(bus, name, 3)
    headers = (
        ("b", b"second comes first"),
        ("a", b"1"),
        ("a", b"2"),
        ("a", b"1"),
        ("empty", b""),
        ("ce_binär", bytes(range(256))),
        ("", b"no name"),
    )
    values = [b"", b"\x00", bytes(range(256)), "ünï \N{GRINNING FACE}".encode(), b"x" * 10_000]
    await producer.send([Message(topic, key, value, headers) for value in values] + [Message(topic, key, b"bare")])
    records = await whole_log(bus, topic)
    assert [record.value for record in records] == [*values, b"bare"]
    assert {record.key for record in records} == {key}
    assert [record.headers for record in records] == [headers] * len(values) + [()]


async def test_a_message_at_the_limit_passes_and_one_byte_more_sends_nothing(
    bus: Bus, producer: Producer, name: str
) -> None:
    topic = await new_topic(bus, name, 2)
    headers = (("name", b"value"),)
    body = b"x" * (MESSAGE_LIMIT_BYTES - len(b"key") - len("name") - len(b"value"))
    await producer.send([Message(topic, b"key", body, headers)])
    with pytest.raises(MessageTooLarge):
        await producer.send([Message(topic, b"other", b"fits"), Message(topic, b"key", body + b"x", headers)])
    await producer.send([Message(topic, b"key", b"goes on")])
    assert [len(record.value) for record in await whole_log(bus, topic)] == [len(body), len(b"goes on")]


async def test_an_empty_send_is_nothing(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    await producer.send([])
    assert await bus.offsets(topic) == {0: (0, 0)}


async def test_read_outside_a_group(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    await producer.send(numbered(topic, 20))
    partition = TopicPartition(topic, 0)
    assert [r.offset for r in await bus.read(partition, 3, 4)] == [3, 4, 5, 6]
    assert [r.value for r in await bus.read(partition, 18, 100)] == [b"18", b"19"]
    assert await bus.read(partition, 20, 100) == []
    assert (await bus.offsets(topic))[0] == (0, 20)


async def test_topics_are_created_once_and_never_repartitioned(bus: Bus, name: str) -> None:
    await new_topic(bus, name, 3)
    await new_topic(bus, name, 3)
    with pytest.raises(Conflict, match="3 partitions, not 4"):
        await new_topic(bus, name, 4)
    assert await bus.offsets(name) == dict.fromkeys(range(3), (0, 0))


async def test_an_unknown_topic_is_an_error(bus: Bus, name: str) -> None:
    with pytest.raises(NotFound):
        await bus.offsets(name)


async def test_stop_is_quick_and_can_be_repeated(bus: Bus, name: str) -> None:
    await new_topic(bus, name, 1)
    producer = bus.producer()
    await producer.start()
    await producer.send([Message(name, b"k", b"v")])
    async with asyncio.timeout(10):
        await producer.stop()
        await producer.stop()
        await bus.stop()
        await bus.stop()
