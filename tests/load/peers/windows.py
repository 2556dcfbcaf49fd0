"""The topic that all but closeloop write: a record per changed window, and whether the last ones equal the recount."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError

from tests.load.peers.topic import PARTITIONS, Recount

_WINDOW_DAYS = 7
_A_DAY_MS = 86_400_000
_READ_SECONDS = 3.0


@asynccontextmanager
async def output_topic(servers: str, topic: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Make it; the client is for whoever watches offsets."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs={"retention.ms": "-1"})])
        yield admin
    finally:
        await admin.close()


async def committed(admin: AIOKafkaAdminClient, group: str, topic: str) -> int:
    """How many records of a topic are behind a group's committed offsets."""
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # the broker's first group: its topic of offsets is being made
        return 0
    return sum(max(0, one.offset) for partition, one in offsets.items() if partition.topic == topic)


async def is_exact(servers: str, topic: str, recount: Recount) -> bool:
    """The last record of each key and window against the recount: every window that holds an answer, and no other."""
    numbers = {"|".join(recount.key_of(number)): number for number in range(len(recount.counts))}
    first = int(recount.first_day.timestamp() * 1000)
    found = {}
    for key, value in (await _last_records(servers, topic)).items():
        day = (struct.unpack(">q", key[-8:])[0] - first) / _A_DAY_MS
        found[numbers[key[:-8].decode()], day] = struct.unpack(">iii", value)
    return found == _expected(recount)


async def _last_records(servers: str, topic: str) -> dict[bytes, bytes]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    last: dict[bytes, bytes] = {}
    try:
        while batch := await consumer.getmany(timeout_ms=int(_READ_SECONDS * 1000), max_records=20_000):
            last |= {record.key: record.value for records in batch.values() for record in records}
    finally:
        await consumer.stop()
    return last


def _expected(recount: Recount) -> dict[tuple[int, float], tuple[int, ...]]:
    windows = {}
    for day in range(1 - _WINDOW_DAYS, recount.counts.shape[1]):
        sums = recount.counts[:, max(0, day) : day + _WINDOW_DAYS].sum(axis=1)
        windows |= {(number, day): tuple(counts) for number, counts in enumerate(sums.tolist()) if counts[0]}
    return windows
