"""The outbox: what is committed is sent, once for whoever consumes it, in order, and nothing else."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.bus import Bus, BusUnavailable, Message, TopicPartition, port
from shared.bus.partition import partition_of
from shared.bus.port import MessageTooLarge, Producer
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import Unavailable
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.db.wakeup import Wakeups
from shared.runtime import lease, outbox
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.runtime.outbox import OutboxRelay
from shared.telemetry import metrics
from tests.support.harness import SCHEMA, effects, feedback, running
from tests.support.poll import eventually


@asynccontextmanager
async def producing(bus: Bus) -> AsyncIterator[Producer]:
    producer = bus.producer()
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


class Unsteady:
    """A producer with faults: `away` refuses, `silent` never answers, `sent` counts what was acked."""

    def __init__(self, inner: Producer) -> None:
        self._inner = inner
        self.away = False
        self.lose_ack = False
        self.silent = False
        self.sent = 0
        self.calls = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, messages: Sequence[Message]) -> None:
        self.calls += 1
        if self.away:
            raise BusUnavailable("away")
        if self.silent:
            await asyncio.Event().wait()
        await self._inner.send(messages)
        if self.lose_ack:
            raise BusUnavailable("the ack was lost")
        self.sent += len(messages)


async def publish(made: Database, numbers: Sequence[int], customer: str = "mina") -> None:
    async with made.unit_of_work() as uow:
        for n in numbers:
            uow.publish(feedback(n, customer=customer))


async def log_of(bus: Bus, customer: str = "mina") -> list[str]:
    """Ids on the bus of one customer, in order."""
    key = feedback(0, customer=customer).record_key()
    partition = TopicPartition(FEEDBACK_RECEIVED.name, partition_of(key, FEEDBACK_RECEIVED.partitions))
    found: list[str] = []
    offset = 0
    while records := await bus.read(partition, offset, 1000):
        offset = records[-1].offset + 1
        found += [dict(record.headers)["ce_id"].decode() for record in records if record.key == key]
    return found


def ids(numbers: Sequence[int], customer: str = "mina") -> list[str]:
    return [str(feedback(n, customer=customer).id) for n in numbers]


async def left(made: Database) -> int:
    async with made.reader() as reader:
        return int(await reader.scalar("select count(*) from outbox"))


def relay(made: Database, producer: Producer, wakeup: asyncio.Event | None = None) -> OutboxRelay:
    return OutboxRelay(made, producer, wakeup or asyncio.Event())


async def _fail_after_publishing(made: Database) -> None:
    async with made.unit_of_work() as uow:
        await uow.execute("insert into effect (event_id) values (gen_random_uuid())")
        uow.publish(feedback(1, customer="mina"))
        raise LookupError


async def test_what_is_rolled_back_is_not_sent_and_what_is_committed_is_in_order(made: Database, bus: Bus) -> None:
    async with producing(bus) as producer, running(relay(made, producer)):
        with pytest.raises(LookupError):
            await _fail_after_publishing(made)
        for start in range(0, 60, 3):
            await publish(made, range(start, start + 3))
        await eventually(lambda: _empty(made))
    assert await log_of(bus) == ids(range(60))
    assert await effects(made) == []


async def test_nothing_is_sent_before_the_commit(made: Database, bus: Bus) -> None:
    async with producing(bus) as producer:
        unsteady = Unsteady(producer)
        one = relay(made, unsteady)
        async with running(one):
            async with made.unit_of_work() as uow:
                uow.publish(feedback(1, customer="mina"))
                await uow.flush()
                one._wakeup.set()
                await eventually(lambda: not one._wakeup.is_set())  # it looked
                assert unsteady.calls == 0
            await eventually(lambda: _empty(made))
    assert await log_of(bus) == ids([1])


async def test_an_ack_that_is_lost_sends_again_and_consumers_drop_the_repeat(made: Database, bus: Bus) -> None:
    """As a crash between ack and delete."""

    async def note(events: Sequence[object], uow: UnitOfWork) -> None:
        for event in events:
            await uow.execute("insert into effect (event_id) values (:id)", {"id": event.id})  # type: ignore[attr-defined]

    async with producing(bus) as producer:
        unsteady = Unsteady(producer)
        unsteady.lose_ack = True
        await publish(made, range(5))
        async with running(relay(made, unsteady)):
            await eventually(lambda: unsteady.calls >= 2)
            unsteady.lose_ack = False
            await eventually(lambda: _empty(made))
    assert len(await log_of(bus)) >= 10
    assert list(dict.fromkeys(await log_of(bus))) == ids(range(5))
    async with running(ConsumerLoop(bus, made, Subscription("scoring", (FEEDBACK_RECEIVED,), note))):
        await eventually(lambda: _has_effects(made, 5))
    assert [str(event) for event in await effects(made)] == ids(range(5))


async def test_one_of_two_relays_ships_and_the_other_takes_over_a_dead_one(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lease, outbox):
        monkeypatch.setattr(module, "LEASE_SECONDS", 1.5)
    async with producing(bus) as producer:
        first, second = Unsteady(producer), Unsteady(producer)
        holder = relay(made, first)
        task = asyncio.create_task(holder.run())
        await publish(made, range(10))
        await eventually(lambda: _empty(made))
        async with running(relay(made, second)):
            await publish(made, range(10, 20))
            holder._wakeup.set()
            await eventually(lambda: _empty(made))
            assert (first.sent, second.sent) == (20, 0)
            first.silent = True
            await publish(made, range(20, 30))
            holder._wakeup.set()
            await eventually(lambda: first.calls >= 3 or holder._stopping.is_set(), timeout=5)
            task.cancel()  # killed: it releases nothing
            await asyncio.wait([task])
            died = time.monotonic()
            await eventually(lambda: _empty(made), timeout=5)
            assert time.monotonic() - died < 1.5 + 1.0
    assert second.sent == 10
    assert await log_of(bus) == ids(range(30))


async def test_a_stopped_relay_gives_the_lease_away_at_once(made: Database, bus: Bus) -> None:
    async with producing(bus) as producer:
        async with running(relay(made, producer)):
            await publish(made, [1])
            await eventually(lambda: _empty(made))
        began = time.monotonic()
        async with running(relay(made, producer)):
            await publish(made, [2])
            await eventually(lambda: _empty(made))
    assert time.monotonic() - began < 2.5


async def test_an_outage_of_the_bus_delays_and_loses_nothing(made: Database, bus: Bus) -> None:
    async with producing(bus) as producer:
        unsteady = Unsteady(producer)
        unsteady.away = True
        async with running(relay(made, unsteady)) as tasks:
            await publish(made, range(10))
            await eventually(lambda: unsteady.calls >= 3)
            assert await left(made) == 10
            assert not tasks[0].done()
            unsteady.away = False
            await eventually(lambda: _empty(made))
    assert await log_of(bus) == ids(range(10))


async def test_who_has_lost_the_lease_counts_no_more(made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its last count would stand for as long as the process lives, and call somebody."""
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 1.5)
    counted = metrics.OUTBOX.labels(SCHEMA)._value
    async with producing(bus) as producer:
        unsteady = Unsteady(producer)
        unsteady.away = True
        async with running(relay(made, unsteady)):
            await publish(made, range(3))
            await eventually(lambda: counted.get() == 3)
            async with made.unit_of_work() as uow:
                await uow.execute("update lease set owner = 'another', expires_at = 'infinity'")
            await eventually(lambda: counted.get() == 0)
            assert await left(made) == 3


async def test_a_stop_ships_what_is_committed(made: Database, bus: Bus) -> None:
    async with producing(bus) as producer:
        one = relay(made, producer)
        task = asyncio.create_task(one.run())
        await eventually(lambda: _held(made))
        await publish(made, range(2500))
        await one.stop()
        await asyncio.wait_for(task, 10)
    assert await left(made) == 0
    assert await log_of(bus) == ids(range(2500))


async def test_a_stop_during_an_outage_is_not_held_up(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_DRAIN_SECONDS", 0.2)
    async with producing(bus) as producer:
        unsteady = Unsteady(producer)
        unsteady.away = True
        one = relay(made, unsteady)
        await publish(made, [1])
        task = asyncio.create_task(one.run())
        await eventually(lambda: unsteady.calls >= 1)
        await one.stop()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(task, 2)
        unsteady.away, unsteady.silent = False, True
        late = relay(made, unsteady)
        late._lease = one._lease
        await late.stop()
        await asyncio.wait_for(late.run(), 2)
    assert await left(made) == 1


async def test_an_event_over_the_limit_is_refused_where_it_is_published(
    made: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the outbox it would hold up everything behind it."""
    monkeypatch.setattr(port, "MESSAGE_LIMIT_BYTES", 200)
    with pytest.raises(MessageTooLarge):
        await publish(made, [1])
    assert await left(made) == 0


async def test_from_commit_to_bus(
    made: Database, bus: Bus, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, not asserted beyond what a sleeping relay would need: the wake-up works."""
    wakeups = Wakeups(database_url, SCHEMA)
    wakeup = wakeups.on("outbox")
    waits: list[float] = []
    async with producing(bus) as producer:
        unsteady = Unsteady(producer)
        async with running(relay(made, unsteady, wakeup), wakeups):
            await publish(made, [0])
            await eventually(lambda: unsteady.sent == 1)
            for n in range(1, 21):
                await publish(made, [n])
                began = time.monotonic()
                await eventually(lambda n=n: unsteady.sent == n + 1, interval=0.001)  # type: ignore[misc]
                waits.append(time.monotonic() - began)
    with capsys.disabled():
        print(f"\ncommit to bus: median {statistics.median(waits) * 1000:.1f} ms, most {max(waits) * 1000:.1f} ms")
    assert statistics.median(waits) < 0.5


async def _empty(made: Database) -> bool:
    return await left(made) == 0


async def _held(made: Database) -> bool:
    async with made.reader() as reader:
        return bool(await reader.scalar("select count(*) from lease where expires_at > clock_timestamp()"))


async def _has_effects(made: Database, count: int) -> bool:
    return len(await effects(made)) == count
