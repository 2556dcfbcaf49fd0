"""What only the log in PostgreSQL has: retention by a task of ours, membership in a table."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.bus.port import Message, OffsetOutOfRange, TopicPartition
from shared.bus.postgres import PostgresBus
from shared.bus.postgres.groups import share_of
from shared.bus.postgres.log import READ_BYTES, pack_headers, unpack_headers
from shared.core.errors import CloseloopError
from shared.core.ids import uuid7
from shared.db.embedded import EmbeddedPostgres
from tests.support.bus import Ledger, Listener, collect, consuming, member, new_topic, numbered, producing, started
from tests.support.poll import eventually


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[PostgresBus]:
    """A started bus."""
    one = PostgresBus(database_url)
    async with started(one):
        yield one


async def execute(url: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def test_records_past_their_retention_go_and_offsets_stay(bus: PostgresBus, database_url: str, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    async with producing(bus) as producer:
        await producer.send(numbered(topic, 5000))
        old = "update bus.record set appended_at = appended_at - interval '15 days' where \"offset\" < 4500"
        await execute(database_url, old)
        assert await bus.expire() == 4500
        assert await bus.expire() == 0
        assert await bus.offsets(topic) == {0: (4500, 5000)}
        assert (await bus.read(TopicPartition(topic, 0), 0, 1))[0].offset == 4500
        await execute(database_url, "update bus.record set appended_at = appended_at - interval '15 days'")
        assert await bus.expire() == 500
        await producer.send(numbered(topic, 1, first=5000))
        assert await bus.offsets(topic) == {0: (5000, 5001)}
    async with consuming(bus, name, topic, Listener(start=4999)) as consumer:
        with pytest.raises(OffsetOutOfRange, match="5000 to 5001"):
            await collect(consumer, 1)


async def test_several_processes_expire_without_harm(bus: PostgresBus, database_url: str, name: str) -> None:
    topic = await new_topic(bus, name, 4)
    async with producing(bus) as producer:
        await producer.send(numbered(topic, 5000))
    await execute(database_url, "update bus.record set appended_at = appended_at - interval '15 days'")
    deleted = await asyncio.gather(*(bus.expire() for _ in range(3)))
    assert sum(deleted) + await bus.expire() == 5000
    assert all(first == end for first, end in (await bus.offsets(topic)).values())


async def test_a_gap_in_the_log_is_never_read_over(bus: PostgresBus, database_url: str, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    async with producing(bus) as producer:
        await producer.send(numbered(topic, 10))
    await execute(database_url, 'delete from bus.record where "offset" = 5')
    async with consuming(bus, name, topic, Listener()) as consumer:
        with pytest.raises(OffsetOutOfRange, match="gap"):
            await collect(consumer, 9)


async def test_a_member_that_was_given_up_joins_again(bus: PostgresBus, database_url: str, name: str) -> None:
    """As after SIGSTOP for longer than a session: the others took its partitions, and it comes back."""
    topic = await new_topic(bus, name, 4)
    ledger = Ledger()
    async with member(bus, name, topic, ledger) as a, member(bus, name, topic, ledger) as b:
        await eventually(lambda: len(a.owned()) == len(b.owned()) == 2)
        taken = dict(ledger.owner)
        silent = """update bus.member set heartbeat_at = heartbeat_at - interval '1 minute'
            where id = (select id from bus.member order by id desc limit 1)"""

        async def generation() -> int:
            connection = await asyncpg.connect(database_url, timeout=5)
            try:
                return int(await connection.fetchval("select generation from bus.consumer_group where name = $1", name))
            finally:
                await connection.close()

        before = await generation()

        async def given_up() -> bool:
            await execute(database_url, silent)  # again and again: it may say that it is alive before anybody looks
            return await generation() > before

        await eventually(given_up)
        await eventually(lambda: len(a.owned()) == len(b.owned()) == 2, timeout=10)
        assert set(ledger.owner) == set(taken)
        async with producing(bus) as producer:
            await producer.send(numbered(topic, 40))
        await eventually(lambda: len(ledger.handled) >= 40)
    assert sorted(map(int, ledger.values())) == list(range(40))


async def test_a_late_assigned_does_not_leave_the_owner_fenced(bus: PostgresBus, name: str) -> None:
    """A takes partitions late, when they are B's already: B was fenced by it and must get another go."""
    topic = await new_topic(bus, name, 4)
    ledger = Ledger()
    late = asyncio.Event()

    class Late(Listener):
        async def assigned(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
            await late.wait()
            return ledger.take(self, partitions)

    async with consuming(bus, name, topic, Late()), member(bus, name, topic, ledger) as b:
        await eventually(lambda: len(b.owned()) == 2)
        late.set()  # A has all four now, two of them from B
        async with producing(bus) as producer:
            mine = [TopicPartition(topic, number) for number in range(4)]
            await eventually(lambda: sum(ledger.owner.get(partition) is b for partition in mine) == 2)
            await producer.send(numbered(topic, 100))
        ends = await bus.offsets(topic)
        await eventually(lambda: all(ledger.position[p] == ends[p.partition][1] for p in b.owned()) and bool(b.owned()))


async def test_a_read_is_bounded_in_bytes_and_serves_every_partition(bus: PostgresBus, name: str) -> None:
    topic = await new_topic(bus, name, 4)
    body = b"x" * 400_000
    async with producing(bus) as producer:
        for n in range(100):
            await producer.send([Message(topic, b"key-%d" % n, body)])
    async with consuming(bus, name, topic, Listener()) as consumer:
        await eventually(consumer.assignment)
        fetched = await consumer.fetch(1000, 5)
        assert len(fetched) == 4
        assert sum(len(records) for records in fetched.values()) * len(body) < READ_BYTES + 4 * len(body)


async def test_lag_can_be_asked_of_the_database(bus: PostgresBus, database_url: str, name: str) -> None:
    topic = await new_topic(bus, name, 1)
    async with producing(bus) as producer:
        await producer.send(numbered(topic, 10))
    async with consuming(bus, name, topic, Listener()) as consumer:
        await consumer.commit({TopicPartition(topic, 0): 4})
        await consumer.commit({TopicPartition(topic, 0): 7})
    connection = await asyncpg.connect(database_url, timeout=5)
    try:
        assert await connection.fetchval("select lag from bus.lag where group_name = $1", name) == 3
    finally:
        await connection.close()


async def test_a_database_without_the_schema_is_told_so(postgres: EmbeddedPostgres) -> None:
    bus = PostgresBus(postgres.url("nothing_here"))
    with pytest.raises(CloseloopError, match="closeloop migrate"):
        await bus.start()
    await bus.stop()


def test_headers_are_packed_without_loss() -> None:
    headers = (("a", b""), ("", b"\x00"), ("ü", b"\xff" * 70_000), ("a", b"again"))
    assert unpack_headers(pack_headers(headers)) == headers
    assert unpack_headers(b"") == ()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_shares_are_disjoint_complete_and_even(count: int) -> None:
    members = [(uuid7(), ["a", "b"]) for _ in range(count)]
    shares = [share_of(id_, members, {"a": 24, "b": 3}) for id_, _ in members]
    assert sum(map(len, shares)) == len(frozenset.union(*shares)) == 27
    assert max(map(len, shares)) - min(map(len, shares)) <= 2


def test_only_readers_of_a_topic_share_it() -> None:
    one, two = uuid7(), uuid7()
    members = [(one, ["a"]), (two, ["a", "b"])]
    assert share_of(one, members, {"a": 4}) | share_of(two, members, {"a": 4, "b": 1}) == {
        *(TopicPartition("a", n) for n in range(4)),
        TopicPartition("b", 0),
    }
