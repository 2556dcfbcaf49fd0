"""The consumer loop in trouble: poison, outages, hanging handlers, fenced partitions, failing preparations."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.bus import Bus, BusUnavailable, TopicPartition, codec
from shared.bus.partition import partition_of
from shared.contracts.envelope import Event, caused_by
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import BadRecord, Unavailable
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import consumer, dead_letters
from shared.runtime.consumer import ConsumerLoop, Stuck, Subscription
from shared.telemetry import metrics
from tests.support.harness import effects, feedback, running, send
from tests.support.poll import eventually
from tests.support.worker import note

KEY = feedback(0, customer="mina").record_key()
PARTITION = TopicPartition(FEEDBACK_RECEIVED.name, partition_of(KEY, FEEDBACK_RECEIVED.partitions))


def events_of(count: int, first: int = 0) -> list[Event[Any]]:
    return [feedback(n, customer="mina") for n in range(first, first + count)]


def subscription(handle: Any = note, group: str = "scoring", **options: Any) -> Subscription:
    return Subscription(group, (FEEDBACK_RECEIVED,), handle, **options)


def refusing(bad: Callable[[Event[Any]], bool], sizes: list[int] | None = None) -> Any:
    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        if sizes is not None:
            sizes.append(len(events))
        await uow.execute(
            "insert into effect (event_id) select unnest(cast(:ids as uuid[]))", {"ids": [e.id for e in events]}
        )
        if any(bad(event) for event in events):
            raise BadRecord("bad")

    return handle


async def count_of(made: Database, table: str = "effect") -> int:
    async with made.reader() as reader:
        return int(await reader.scalar(f"select count(*) from {table}"))


def stopped(loop: ConsumerLoop) -> bool:
    return any(held.stopped for held in loop._partitions.values())


async def test_half_a_percent_of_poison_is_parked_and_all_else_goes_through(made: Database, bus: Bus) -> None:
    events = events_of(3_000)
    bad = {event.id for event in events[100::200]}
    await send(bus, events)
    loop = ConsumerLoop(bus, made, subscription(refusing(lambda event: event.id in bad)))
    async with running(loop):
        await eventually(lambda: _count(made, 3_000 - len(bad)), timeout=40)
        await eventually(lambda: _count(made, len(bad), "dead_letter"))
        assert not stopped(loop)
    assert await effects(made) == [event.id for event in events if event.id not in bad]


async def test_more_than_one_percent_stops_the_partition_before_more_is_parked(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_LEAST_FOR_SHARE", 200)
    events = events_of(600)
    bad = {event.id for event in events[20::40]}  # 2.5 %
    await send(bus, [*events, *(feedback(n, customer="ole") for n in range(5))])
    loop = ConsumerLoop(bus, made, subscription(refusing(lambda event: event.id in bad), "share"))
    gauge = metrics.STOPPED_PARTITIONS.labels("share", FEEDBACK_RECEIVED.name)
    async with running(loop):
        await eventually(lambda: stopped(loop), timeout=30)
        assert await count_of(made, "dead_letter") <= 6
        neighbours = {feedback(n, customer="ole").id for n in range(5)}
        await eventually(lambda: _contains(made, neighbours))
        assert gauge._value.get() == 1
        parked = await count_of(made, "dead_letter")
        # A rebalance is no pardon: the next bad record stops it again.
        partitions = frozenset(loop._partitions)
        await loop.revoked(partitions)
        assert gauge._value.get() == 0
        starts = await loop.assigned(partitions)
        for partition, offset in starts.items():
            loop._consumer.resume(partition)
            loop._consumer.seek(partition, offset)
        await eventually(lambda: stopped(loop))
        assert await count_of(made, "dead_letter") == parked
    assert len(set(await effects(made))) == len(await effects(made))


async def test_a_new_member_counts_on_where_the_last_one_stopped_parking(made: Database, bus: Bus) -> None:
    await send(bus, events_of(150))
    broken = refusing(lambda event: True)
    last = events_of(150)[40].id

    async def broken_until_the_last(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        if last in {event.id for event in events} and len(events) == 1:
            raise Unavailable("away")
        await broken(events, uow)

    async with running(ConsumerLoop(bus, made, subscription(broken_until_the_last, "moved"))):
        await eventually(lambda: _count(made, 40, "dead_letter"))
    successor = ConsumerLoop(bus, made, subscription(broken, "moved"))
    async with running(successor):
        await eventually(lambda: stopped(successor), timeout=30)
    assert await count_of(made, "dead_letter") == 100
    async with running(restarted := ConsumerLoop(bus, made, subscription(broken, "moved"))):
        await eventually(lambda: stopped(restarted))
    assert await count_of(made, "dead_letter") == 100, "a restart alone is no pardon"
    async with made.unit_of_work() as uow:  # what an operator replays or drops does not count any more
        await uow.execute("update dead_letter set state = 'dropped'")
    async with running(ConsumerLoop(bus, made, subscription(broken, "moved"))):
        await eventually(lambda: _count(made, 150, "dead_letter"), timeout=30)


async def test_an_outage_halves_the_batch_and_success_doubles_it(made: Database, bus: Bus) -> None:
    sizes: list[int] = []
    outages = 3

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        nonlocal outages
        sizes.append(len(events))
        if outages:
            outages -= 1
            raise Unavailable("the model is away")
        await note(events, uow)

    await send(bus, events_of(100))
    async with running(ConsumerLoop(bus, made, subscription(handle, max_batch=64))):
        await eventually(lambda: _count(made, 100))
    assert sizes[:4] == [64, 32, 16, 8]
    assert max(sizes[4:]) > 8
    assert await effects(made) == [event.id for event in events_of(100)]
    assert await count_of(made, "dead_letter") == 0


async def test_a_dependency_that_is_away_is_not_asked_in_a_tight_loop(made: Database, bus: Bus) -> None:
    calls = 0

    async def away(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        nonlocal calls
        calls += 1
        raise Unavailable("away")

    await send(bus, events_of(1))
    clock = asyncio.get_running_loop().time
    began = clock()
    async with running(ConsumerLoop(bus, made, subscription(away))):
        await eventually(lambda: clock() - began > 1.5)
    assert 2 <= calls <= 8


async def test_prepared_results_are_found_by_the_handler_and_a_failing_preparation_ends_on_the_bad_record(
    made: Database, bus: Bus
) -> None:
    found: dict[Any, str] = {}
    bad = feedback(7, customer="mina").id

    def prepare(events: Sequence[Event[Any]]) -> None:
        for event in events:
            if event.id == bad:
                raise ArithmeticError("mina@example.org")
            found[event.id] = "ready"

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        for event in events:
            if event.id not in found:
                prepare([event])  # what was not prepared is worked out where it stands alone
        await note(events, uow)

    await send(bus, events_of(20))
    async with running(ConsumerLoop(bus, made, subscription(handle, prepare=prepare))):
        await eventually(lambda: _count(made, 19))
        await eventually(lambda: _count(made, 1, "dead_letter"))
    assert await effects(made) == [event.id for event in events_of(20) if event.id != bad]
    async with made.reader() as reader:
        assert await reader.scalar("select error from dead_letter") == "ArithmeticError"


async def test_a_value_that_the_database_refuses_is_poison_and_no_outage(made: Database, bus: Bus) -> None:
    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await note(events, uow)
        for event in events:
            await uow.execute("select cast(:n as int)", {"n": 2**40 if event.id == feedback(3).id else 1})

    await send(bus, events_of(5))
    async with running(ConsumerLoop(bus, made, subscription(handle))):
        await eventually(lambda: _count(made, 4))
        await eventually(lambda: _count(made, 1, "dead_letter"))


async def test_a_handler_that_hangs_ends_the_process(made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "WATCHDOG_SECONDS", 0.3)
    monkeypatch.setattr(consumer, "_LAG_SECONDS", 0.1)

    async def hang(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await asyncio.Event().wait()

    await send(bus, events_of(2))
    loop = ConsumerLoop(bus, made, subscription(hang))
    with pytest.raises(Stuck):
        async with asyncio.timeout(15):
            await loop.run()
    assert await effects(made) == []


async def test_waiting_its_turn_is_not_standing_still(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "WATCHDOG_SECONDS", 0.5)
    monkeypatch.setattr(consumer, "_LAG_SECONDS", 0.05)

    async def slow(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await uow.execute("select pg_sleep(0.15)")
        await note(events, uow)

    events = [feedback(n, customer=f"customer {n}") for n in range(40)]  # most of the 24 partitions
    await send(bus, events)
    async with running(ConsumerLoop(bus, made, subscription(slow))):
        await eventually(lambda: _count(made, 40), timeout=30)


async def test_a_fenced_member_takes_its_partition_again_while_it_is_still_its_own(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "RECLAIM_SECONDS", 0.2)
    loop = ConsumerLoop(bus, made, subscription(group="reclaim"))
    fenced = metrics.FENCED.labels("reclaim", FEEDBACK_RECEIVED.name)
    async with running(loop):
        await send(bus, events_of(5))
        await eventually(lambda: _count(made, 5))
        async with made.unit_of_work() as uow:
            await uow.execute("update consumer_position set epoch = epoch + 1, owner = 'somebody for a moment'")
        await send(bus, events_of(5, first=5))
        await eventually(lambda: _count(made, 10))
    assert fenced._value.get() >= 1
    assert await effects(made) == [event.id for event in events_of(10)]


async def test_a_bus_that_fails_during_the_assignment_is_waited_for(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raising there would end the consumer for good, with nobody to notice."""
    offsets, failures = bus.offsets, 2

    async def shaky(topic: str) -> dict[int, tuple[int, int]]:
        nonlocal failures
        if failures:
            failures -= 1
            raise BusUnavailable("away")
        return await offsets(topic)

    monkeypatch.setattr(bus, "offsets", shaky)
    await send(bus, events_of(3))
    async with running(ConsumerLoop(bus, made, subscription())):
        await eventually(lambda: _count(made, 3))
    assert failures == 0


async def test_the_trace_of_an_event_goes_on_with_what_it_causes(made: Database, bus: Bus) -> None:
    traces = [f"00-{n:032x}-{n:016x}-01" for n in (1, 2, 3)]
    events = [replace(event, traceparent=trace) for event, trace in zip(events_of(3), traces, strict=True)]

    async def handle(batch: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await note(batch, uow)
        for event in batch:
            uow.publish(caused_by(event, event.data, group="scoring"))

    await send(bus, events)
    async with running(ConsumerLoop(bus, made, subscription(handle))):
        await eventually(lambda: _count(made, 3))
    async with made.reader() as reader:
        rows = await reader.all("select headers from outbox order by id")
    carried = [dict(row.headers)["traceparent"] for row in rows]
    assert [trace.split("-")[1] for trace in carried] == [trace.split("-")[1] for trace in traces]


async def test_nobody_counts_the_lag_of_a_partition_that_is_not_theirs(
    made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 0 would say that all is done, for as long as a member waits for the database to take its partitions again."""
    monkeypatch.setattr(consumer, "_LAG_SECONDS", 0.05)
    loop = ConsumerLoop(bus, made, subscription(group="lagging"))
    label = ("lagging", PARTITION.topic, str(PARTITION.partition))
    async with running(loop):
        await eventually(lambda: label in metrics.LAG._metrics)
        await loop.revoked(frozenset({PARTITION}))
        assert label not in metrics.LAG._metrics


async def test_a_repeat_inside_one_batch_and_a_rolled_back_claim(made: Database, bus: Bus) -> None:
    failed = False

    async def once(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        nonlocal failed
        await note(events, uow)
        if not failed:
            failed = True
            await uow.execute("select pg_terminate_backend(pg_backend_pid())")

    await send(bus, [*events_of(3), *events_of(3)])
    async with running(ConsumerLoop(bus, made, subscription(once))):
        await eventually(lambda: _position(made, 6))
    assert await effects(made) == [event.id for event in events_of(3)]


def test_the_codec_keeps_the_id_of_a_cause() -> None:
    event = caused_by(feedback(1), feedback(1).data, group="scoring")
    assert codec.decode(codec.encode(event)).causation_id == feedback(1).id


async def _count(made: Database, wanted: int, table: str = "effect") -> bool:
    return await count_of(made, table) == wanted


async def _contains(made: Database, wanted: set[Any]) -> bool:
    return wanted <= set(await effects(made))


async def _position(made: Database, offset: int) -> bool:
    async with made.reader() as reader:
        found = await reader.scalar(
            "select next_offset from consumer_position where topic = :topic and partition = :partition",
            PARTITION._asdict(),
        )
    return bool(found == offset)
