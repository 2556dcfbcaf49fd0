"""The consumer loop on a real database and bus: every promise of delivery.md that one process can show."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.bus import Bus, Message, TopicPartition, codec
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import BadRecord
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import consumer as consumer_module
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.runtime.replays import Replays, menders_of
from tests.support.harness import effects, feedback, running, send
from tests.support.poll import eventually

ONE_CUSTOMER = "mina"


async def note(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
    for event in events:
        await uow.execute("insert into effect (event_id) values (:id)", {"id": event.id})


def subscription(handle: Any = note, group: str = "scoring", **options: Any) -> Subscription:
    return Subscription(group=group, topics=(FEEDBACK_RECEIVED,), handle=handle, **options)


async def letters(made: Database) -> Sequence[Any]:
    async with made.reader() as reader:
        return await reader.all("select * from dead_letter order by parked_at")


async def test_every_event_has_its_effect_once_and_in_order(made: Database, bus: Bus) -> None:
    events = [feedback(n, customer=ONE_CUSTOMER) for n in range(300)]
    await send(bus, events)
    async with running(ConsumerLoop(bus, made, subscription())):
        await eventually(lambda: _count(made, 300))
        await send(bus, events[:50])  # a repeat, as after a retry at the door
        await send(bus, [feedback(1000, customer=ONE_CUSTOMER)])
        await eventually(lambda: _count(made, 301))
    assert await effects(made) == [event.id for event in [*events, feedback(1000, customer=ONE_CUSTOMER)]]


async def test_a_trickle_is_handled_in_handfuls(made: Database, bus: Bus) -> None:
    batches: list[int] = []

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        batches.append(len(events))
        await note(events, uow)

    async with running(ConsumerLoop(bus, made, subscription(handle, pace_seconds=2.0))):
        for n in range(40):
            await send(bus, [feedback(n, customer=ONE_CUSTOMER)])
        await eventually(lambda: _count(made, 40))
    assert sum(batches) == 40
    assert len(batches) <= 10


async def test_a_restart_goes_on_where_the_last_one_stood(made: Database, bus: Bus) -> None:
    await send(bus, [feedback(n, customer=ONE_CUSTOMER) for n in range(20)])
    async with running(ConsumerLoop(bus, made, subscription())):
        await eventually(lambda: _count(made, 20))
    await send(bus, [feedback(n, customer=ONE_CUSTOMER) for n in range(20, 40)])
    async with running(ConsumerLoop(bus, made, subscription())):
        await eventually(lambda: _count(made, 40))
    assert await effects(made) == [feedback(n, customer=ONE_CUSTOMER).id for n in range(40)]


async def test_a_failing_transaction_leaves_nothing_and_poison_is_parked_alone(made: Database, bus: Bus) -> None:
    bad = feedback(7, customer=ONE_CUSTOMER)

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await note(events, uow)  # written before the failure: must be rolled back with it
        if bad.id in {event.id for event in events}:
            raise BadRecord("no such customer")

    await send(bus, [feedback(n, customer=ONE_CUSTOMER) for n in range(20)])
    async with running(ConsumerLoop(bus, made, subscription(handle))):
        await eventually(lambda: _count(made, 19))
        parked = await eventually(lambda: letters(made))
    assert [letter.error for letter in parked] == ["no such customer"]
    assert codec.decode_parts(_headers(parked[0]), parked[0].value).id == bad.id
    assert parked[0].workspace == "acme"
    assert await effects(made) == [feedback(n, customer=ONE_CUSTOMER).id for n in range(20) if n != 7]


async def test_what_cannot_be_decoded_is_parked_raw(made: Database, bus: Bus) -> None:
    producer = bus.producer()
    await producer.start()
    await producer.send([Message(FEEDBACK_RECEIVED.name, b"acme/x", b"\x00not json", (("ce_type", b"\xff"),))])
    await producer.stop()
    await send(bus, [feedback(1)])
    async with running(ConsumerLoop(bus, made, subscription())):
        parked = await eventually(lambda: letters(made))
        await eventually(lambda: _count(made, 1))
    assert (parked[0].value, _headers(parked[0])) == (b"\x00not json", (("ce_type", b"\xff"),))


async def test_a_handler_that_fails_for_all_stops_the_partition_and_a_replay_loses_nothing(
    made: Database, bus: Bus
) -> None:
    async def broken(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        raise LookupError("a bug")

    await send(bus, [feedback(n, customer=ONE_CUSTOMER) for n in range(150)])
    loop = ConsumerLoop(bus, made, subscription(broken))
    async with running(loop):
        await eventually(lambda: _stopped(loop), timeout=30)
        parked = await letters(made)
    assert len(parked) == 100
    assert {letter.error for letter in parked} == {"LookupError"}  # never the text: it may hold customer data
    async with made.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    mended = subscription()
    replays = Replays(made, asyncio.Event(), menders_of(made, mended))
    async with running(ConsumerLoop(bus, made, mended), replays):
        await eventually(lambda: _count(made, 150), timeout=30)
        await eventually(lambda: _all_replayed(made))
    assert sorted(await effects(made)) == sorted(feedback(n, customer=ONE_CUSTOMER).id for n in range(150))


async def test_a_member_that_lost_its_partition_changes_nothing(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zombie: it was frozen inside its transaction while another member took over."""
    monkeypatch.setattr(consumer_module, "RECLAIM_SECONDS", 1.0)
    entered, thaw = asyncio.Event(), asyncio.Event()

    async def freeze(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        entered.set()
        await thaw.wait()
        await note(events, uow)

    event = feedback(1)
    await send(bus, [event])
    zombie = ConsumerLoop(bus, made, subscription(freeze))
    async with running(zombie):
        await entered.wait()
        # The position row is locked by the frozen transaction; Postgres ends it as an idle one, here we do.
        async with made.unit_of_work() as uow:
            await uow.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' "
                "and pid <> pg_backend_pid() and datname = current_database()"
            )
        successor = ConsumerLoop(bus, made, subscription())
        async with running(successor):
            partitions = frozenset(TopicPartition(FEEDBACK_RECEIVED.name, n) for n in range(24))
            await successor.assigned(partitions)
            thaw.set()
            await eventually(lambda: _count(made, 1), timeout=30)
    assert await effects(made) == [event.id]


async def test_an_outage_of_the_database_is_waited_for_and_never_parked(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 3

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        nonlocal failures
        await note(events, uow)
        if failures:
            failures -= 1
            await uow.execute("select pg_terminate_backend(pg_backend_pid())")

    await send(bus, [feedback(n, customer=ONE_CUSTOMER) for n in range(10)])
    async with running(ConsumerLoop(bus, made, subscription(handle))):
        await eventually(lambda: _count(made, 10), timeout=30)
    assert await letters(made) == []
    assert await effects(made) == [feedback(n, customer=ONE_CUSTOMER).id for n in range(10)]


async def test_the_watchdog_ends_a_process_that_stands_still(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "WATCHDOG_SECONDS", 0.2)
    monkeypatch.setattr(consumer_module, "_LAG_SECONDS", 0.1)
    loop = ConsumerLoop(bus, made, subscription())
    await send(bus, [feedback(1)])
    loop._consumer.pause = lambda partition: None  # type: ignore[method-assign]
    monkeypatch.setattr(loop, "_process", _never)
    with pytest.raises(consumer_module.Stuck, match="stands still"):
        async with running(loop) as tasks:
            await eventually(lambda: tasks[0].done(), timeout=10)


async def test_independent_groups_each_have_their_effects(made: Database, bus: Bus) -> None:
    await send(bus, [feedback(n) for n in range(5)])
    loops = [ConsumerLoop(bus, made, subscription(group=group)) for group in ("one", "two")]
    async with running(*loops):
        await eventually(lambda: _count(made, 10))


async def _never(*_: object) -> None:
    return None


async def _count(made: Database, wanted: int) -> bool:
    return len(await effects(made)) == wanted


async def _all_replayed(made: Database) -> bool:
    return {letter.state for letter in await letters(made)} == {"replayed"}


def _stopped(loop: ConsumerLoop) -> bool:
    return any(held.stopped for held in loop._partitions.values())


def _headers(letter: Any) -> Any:
    return tuple((name, value.encode("latin-1")) for name, value in letter.headers)
