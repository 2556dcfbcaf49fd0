"""Effects over either bus: publishing belongs to its transaction, and a fenced member changes nothing."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from shared.bus import Bus, TopicPartition
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.runtime.outbox import OutboxRelay
from shared.runtime.positions import Positions
from tests.support.bus import producing
from tests.support.harness import database, effects, feedback, running, send
from tests.support.poll import eventually


async def note(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
    for event in events:
        await uow.execute("insert into effect (event_id) values (:id)", {"id": event.id})


def events(count: int) -> list[Event[Any]]:
    """Events of one customer that no other test has sent: a broker is shared."""
    first = random.randrange(10**12)
    return [feedback(first + n, customer=f"customer {first}") for n in range(count)]


async def test_publish_inside_a_unit_of_work_is_atomic_with_its_effects(bus: Bus, name: str, database_url: str) -> None:
    await bus.create_topics([FEEDBACK_RECEIVED])
    dropped, kept = events(2)
    async with database(database_url) as made, producing(bus) as producer:
        with pytest.raises(LookupError, match="rolled back"):  # noqa: PT012 - the block is the subject
            async with made.unit_of_work() as uow:
                uow.publish(dropped)
                raise LookupError("rolled back")
        async with made.unit_of_work() as uow:
            uow.publish(kept)
        relay = OutboxRelay(made, producer, asyncio.Event())
        loop = ConsumerLoop(bus, made, Subscription(name, (FEEDBACK_RECEIVED,), note))

        async def arrived() -> bool:
            return kept.id in await effects(made)

        async with running(relay, loop):
            await eventually(arrived, timeout=30)
        assert dropped.id not in await effects(made)


async def test_a_fenced_member_changes_nothing(bus: Bus, name: str, database_url: str) -> None:
    await bus.create_topics([FEEDBACK_RECEIVED])
    before, after = events(2)
    async with database(database_url) as made:
        loop = ConsumerLoop(bus, made, Subscription(name, (FEEDBACK_RECEIVED,), note))

        async def arrived() -> bool:
            return before.id in await effects(made)

        async with running(loop):
            await send(bus, [before])
            await eventually(arrived, timeout=30)
            held = {TopicPartition(*partition): 0 for partition in loop._partitions}
            await Positions(made, name, "another member").acquire(held)
            await send(bus, [after])
            await eventually(lambda: loop._lost_at, timeout=10)
            assert after.id not in await effects(made)
