"""Batches over several partitions of a topic: one transaction, and the trouble of one partition stays its own."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from shared.bus import Bus, TopicPartition, codec
from shared.bus.partition import partition_of
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import BadRecord, Unavailable
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.runtime.positions import Fenced, Move, Positions
from tests.support.harness import effects, feedback, running, send
from tests.support.poll import eventually
from tests.support.worker import note

EVENTS = [feedback(n, customer=f"customer {n % 40}") for n in range(200)]  # most of the 24 partitions


def partition(event: Event[Any]) -> TopicPartition:
    return TopicPartition(FEEDBACK_RECEIVED.name, partition_of(event.record_key(), FEEDBACK_RECEIVED.partitions))


def consumer(bus: Bus, made: Database, handle: Any = note, **options: Any) -> ConsumerLoop:
    return ConsumerLoop(bus, made, Subscription("scoring", (FEEDBACK_RECEIVED,), handle, **options))


async def all_but(made: Database, left_out: set[UUID]) -> bool:
    return set(await effects(made)) == {event.id for event in EVENTS} - left_out


def in_order(found: Sequence[UUID]) -> bool:
    """Every partition's effects came in the order in which its events were sent."""
    place = {event.id: (partition(event), n) for n, event in enumerate(EVENTS)}
    latest: dict[TopicPartition, int] = {}
    for event_id in found:
        where, n = place[event_id]
        if latest.get(where, -1) >= n:
            return False
        latest[where] = n
    return True


async def test_partitions_share_a_transaction_and_keep_their_order(made: Database, bus: Bus) -> None:
    batches: list[list[TopicPartition]] = []

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        batches.append([partition(event) for event in events])
        await note(events, uow)

    await send(bus, EVENTS)
    async with running(consumer(bus, made, handle, max_batch=50)):
        await eventually(lambda: all_but(made, set()))
    assert max(len(set(batch)) for batch in batches) > 3
    assert max(len(batch) for batch in batches) <= 50, "the limit is on the transaction, not on each partition"
    found = await effects(made)
    assert len(found) == len(EVENTS)
    assert in_order(found)


async def test_poison_among_partitions_is_parked_alone(made: Database, bus: Bus) -> None:
    bad = {EVENTS[n].id for n in (3, 60, 61, 199)}

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await note(events, uow)
        if any(event.id in bad for event in events):
            raise BadRecord("bad")

    await send(bus, EVENTS)
    async with running(consumer(bus, made, handle)):
        await eventually(lambda: all_but(made, bad))
        await eventually(lambda: _letters(made, len(bad)))
    found = await effects(made)
    assert len(found) == len(EVENTS) - len(bad)
    assert in_order(found)


@pytest.mark.parametrize("raw", [False, True])
async def test_what_nobody_can_read_does_not_make_others_wait(made: Database, bus: Bus, raw: bool) -> None:
    """One transaction for all that stands before such records, one for what stands behind: with a clock running, and a
    database that is busy, every further one is a wait for all that came with them."""
    sizes: list[int] = []

    async def handle(given: Sequence[Any], uow: UnitOfWork) -> None:
        events = [codec.decode(record) for record in given] if raw else given
        sizes.append(len(events))
        await note(events, uow)

    messages = [codec.encode(event) for event in EVENTS]
    for at in (150, 60, 60):
        messages.insert(at, replace(codec.encode(EVENTS[at]), value=b"not JSON"))
    producer = bus.producer()
    await producer.start()
    await producer.send(messages)
    await producer.stop()
    async with running(consumer(bus, made, handle, raw=raw)):
        await eventually(lambda: all_but(made, set()))
    assert sum(sizes) == len(EVENTS)
    assert len(sizes) <= 3, sizes
    assert in_order(await effects(made))
    async with made.reader() as reader:
        assert await reader.scalar("select count(*) from dead_letter") == 3
        assert await reader.scalar("select count(*) from processed_event") == (0 if raw else len(EVENTS))


async def test_one_partition_lost_in_a_batch_leaves_the_others_their_work(made: Database, bus: Bus) -> None:
    """Another member takes one partition over between fetch and transaction."""
    lost = partition(EVENTS[0])
    taken = False

    class Overtaken(Positions):
        async def advance(self, uow: UnitOfWork, moves: Sequence[Move], ids: Sequence[UUID]) -> set[UUID]:
            nonlocal taken
            if not taken and len(moves) > 1 and lost in {move.partition for move in moves}:
                taken = True
                await Positions(made, "scoring", "somebody else").acquire({lost: 0})
            return await super().advance(uow, moves, ids)

    await send(bus, EVENTS)
    loop = consumer(bus, made)
    loop._positions = Overtaken(made, "scoring", "overtaken")
    theirs = {event.id for event in EVENTS if partition(event) == lost}
    async with running(loop):
        await eventually(lambda: all_but(made, theirs))
        assert lost not in loop._partitions
        assert lost in loop._lost_at
    assert taken
    assert len(await effects(made)) == len(EVENTS) - len(theirs)


async def test_an_outage_in_the_middle_repeats_no_partition(made: Database, bus: Bus) -> None:
    calls = 0

    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        nonlocal calls
        calls += 1
        await note(events, uow)
        if calls in (2, 4):
            raise Unavailable("away for a moment")

    await send(bus, EVENTS)
    async with running(consumer(bus, made, handle, max_batch=30)):
        await eventually(lambda: all_but(made, set()))
    found = await effects(made)
    assert len(found) == len(EVENTS)
    assert in_order(found)


async def test_a_fence_names_what_is_lost_and_claims_nothing(made: Database) -> None:
    ours, theirs = TopicPartition("t", 0), TopicPartition("t", 1)
    positions = Positions(made, "group", "we")
    held = await positions.acquire({ours: 0, theirs: 0})
    await Positions(made, "group", "they").acquire({theirs: 0})
    moves = [Move(ours, held[ours], 5), Move(theirs, held[theirs], 5)]
    with pytest.raises(Fenced) as fenced:
        async with made.unit_of_work() as uow:
            await positions.advance(uow, moves, [EVENTS[0].id])
    assert fenced.value.partitions == {theirs}
    assert await positions.reread(held) == {ours: 0}
    async with made.unit_of_work() as uow:
        assert await positions.advance(uow, moves[:1], [EVENTS[0].id]) == {EVENTS[0].id}
        held[ours].next_offset = 5
        assert await positions.advance(uow, [Move(ours, held[ours], 6)], [EVENTS[0].id]) == set()
    assert await positions.reread(held) == {ours: 6}


async def _letters(made: Database, wanted: int) -> bool:
    async with made.reader() as reader:
        return bool(await reader.scalar("select count(*) from dead_letter") == wanted)
