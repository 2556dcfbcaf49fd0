"""Consumer groups: everybody sees all, members share, partitions move when a member comes, leaves or dies."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from shared.bus.port import Bus, Message, Producer
from tests.contract.bus.conftest import Factory
from tests.support.bus import Ledger, Member, member, new_topic, numbered, started
from tests.support.poll import eventually

ROOT = Path(__file__).parents[3]


async def shared_out(members: list[Member], partitions: int, timeout: float = 30) -> None:
    """Wait until every partition has one owner and every member has some."""

    def done() -> bool:
        owned = [one.owned() for one in members]
        return all(owned) and sum(map(len, owned)) == len(frozenset.union(*owned)) == partitions

    await eventually(done, timeout)


async def test_groups_are_independent(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 3)
    await producer.send(numbered(topic, 100))
    ledgers = [Ledger() for _ in range(3)]
    async with AsyncExitStack() as stack:
        for n, ledger in enumerate(ledgers):
            await stack.enter_async_context(member(bus, f"{name}.{n}", topic, ledger))
        await eventually(lambda: all(len(ledger.handled) >= 100 for ledger in ledgers), timeout=20)
        for ledger in ledgers:
            assert sorted(map(int, ledger.values())) == list(range(100))


async def test_two_members_share_and_each_record_is_handled_by_its_owner(
    bus_factory: Factory, bus: Bus, producer: Producer, name: str
) -> None:
    topic = await new_topic(bus, name, 8)
    ledger = Ledger()
    async with (
        started(bus_factory()) as other,
        member(bus, name, topic, ledger) as a,
        member(other, name, topic, ledger) as b,
    ):
        await shared_out([a, b], 8)
        assert {len(a.owned()), len(b.owned())} == {4}
        await producer.send(numbered(topic, 400, keys=100))
        await eventually(lambda: len(ledger.handled) >= 400, timeout=20)
        assert ledger.by(a) > 0
        assert ledger.by(b) > 0
        for who, record in ledger.handled:
            assert (record.topic, record.partition) in (a if who is a else b).owned()
        assert sorted(map(int, ledger.values())) == list(range(400))


async def test_a_third_member_joins_under_load(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 9)
    ledger = Ledger()
    sent = 0
    enough = asyncio.Event()

    async def load() -> None:
        nonlocal sent
        while not enough.is_set():
            await producer.send(numbered(topic, 20, first=sent))
            sent += 20

    async with member(bus, name, topic, ledger) as a, member(bus, name, topic, ledger) as b:
        await shared_out([a, b], 9)
        loading = asyncio.create_task(load())
        try:
            await eventually(lambda: len(ledger.handled) > 200, timeout=20)
            async with member(bus, name, topic, ledger) as c:
                await shared_out([a, b, c], 9)
                await eventually(lambda: ledger.by(c) > 100, timeout=20)
                enough.set()
                await loading
                await eventually(lambda: len(ledger.handled) >= sent, timeout=20)
        finally:
            enough.set()
            await loading
    assert sorted(map(int, ledger.values())) == list(range(sent))
    assert ledger.gaps == 0
    for key in {record.key for _, record in ledger.handled}:
        numbers = [int(record.value) for _, record in ledger.handled if record.key == key]
        assert numbers == sorted(numbers)


async def test_a_member_that_leaves_hands_over_at_once(bus: Bus, producer: Producer, name: str) -> None:
    topic = await new_topic(bus, name, 6)
    ledger = Ledger()
    async with member(bus, name, topic, ledger) as stays:
        async with member(bus, name, topic, ledger) as leaves:
            await shared_out([stays, leaves], 6)
            await producer.send(numbered(topic, 60))
            await eventually(lambda: len(ledger.handled) >= 60, timeout=20)
        await producer.send(numbered(topic, 60, first=60))
        await eventually(lambda: len(ledger.handled) >= 120, timeout=5)  # a session would be 15 s
        assert len(stays.owned()) == 6
    assert sorted(map(int, ledger.values())) == list(range(120))
    assert ledger.gaps == 0


@asynccontextmanager
async def other_process(factory: Factory, group: str, topic: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A member in a process of its own; killed at the end, if not before."""
    program = [sys.executable, "-m", "tests.support.bus_member", factory.url, factory.database_url, group, topic]
    process = await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_partitions_of_a_killed_member_move(
    bus_factory: Factory, bus: Bus, producer: Producer, name: str
) -> None:
    topic = await new_topic(bus, name, 4)
    ledger = Ledger()
    async with member(bus, name, topic, ledger) as survivor, other_process(bus_factory, name, topic) as process:
        assert process.stdout is not None
        shares = process.stdout
        await eventually(lambda: len(survivor.owned()) == 2, timeout=40)

        async def has_its_half() -> bool:
            return int(await shares.readline()) == 2

        await eventually(has_its_half, timeout=40)
        process.kill()
        await process.wait()
        await producer.send([Message(topic, b"key-%d" % n, b"%d" % n) for n in range(100)])
        await eventually(lambda: len(survivor.owned()) == 4, timeout=30)
        await eventually(lambda: len(ledger.handled) >= 100, timeout=10)
    assert sorted(map(int, ledger.values())) == list(range(100))
