"""Replays of dead letters: once, through the same handler, and a failure says so."""

import asyncio
from collections.abc import Sequence
from typing import Any

from shared.bus import Bus, Message, codec
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import BadRecord
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork, load_headers
from shared.runtime import dead_letters
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.runtime.replays import Replays, menders_of
from tests.support.harness import effects, feedback, running, send
from tests.support.poll import eventually


async def note(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
    for event in events:
        await uow.execute("insert into effect (event_id) values (:id)", {"id": event.id})


async def refuse(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
    await note(events, uow)
    raise BadRecord("not yet")


def subscription(handle: Any, prepare: Any = None) -> Subscription:
    return Subscription("scoring", (FEEDBACK_RECEIVED,), handle, prepare)


def replays(made: Database, handle: Any, prepare: Any = None) -> Replays:
    return Replays(made, asyncio.Event(), menders_of(made, subscription(handle, prepare)))


async def letters(made: Database) -> Sequence[Any]:
    async with made.reader() as reader:
        return await reader.all("select * from dead_letter order by parked_at")


async def parked(made: Database, bus: Bus, count: int) -> None:
    """`count` events that the handler refused, and an operator's word to replay them."""
    await send(bus, [feedback(n, customer="mina") for n in range(count)])
    async with running(ConsumerLoop(bus, made, subscription(refuse))):
        await eventually(lambda: _parked(made, count))
    async with made.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")


async def test_a_replay_has_its_effect_once_with_two_at_work(made: Database, bus: Bus) -> None:
    prepared: list[Any] = []
    await parked(made, bus, 20)
    async with running(replays(made, note, prepared.extend), replays(made, note, prepared.extend)):
        await eventually(lambda: _states(made, {"replayed"}))
    assert sorted(await effects(made)) == sorted(feedback(n).id for n in range(20))
    assert len(prepared) == 20
    async with made.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    async with running(replays(made, note)):
        await eventually(lambda: _states(made, {"replayed"}))
    assert len(await effects(made)) == 20


async def test_what_was_handled_meanwhile_is_not_handled_again(made: Database, bus: Bus) -> None:
    """The same delivery came again, after the mending and before the replay."""
    await parked(made, bus, 1)
    await send(bus, [feedback(0, customer="mina")])
    async with running(ConsumerLoop(bus, made, subscription(note))):
        await eventually(lambda: _effect_count(made, 1))
    async with running(replays(made, note)):
        await eventually(lambda: _states(made, {"replayed"}))
    assert await effects(made) == [feedback(0).id]


async def test_a_replay_that_fails_is_parked_again_with_the_new_reason(made: Database, bus: Bus) -> None:
    async def still_bad(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await note(events, uow)
        raise BadRecord("the team is gone")

    await parked(made, bus, 1)
    async with running(replays(made, still_bad)):
        await eventually(lambda: _states(made, {"parked"}))
    (letter,) = await letters(made)
    assert (letter.attempts, letter.error) == (2, "the team is gone")
    assert await effects(made) == []
    async with made.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    async with running(replays(made, note)):
        await eventually(lambda: _states(made, {"replayed"}))
    assert await effects(made) == [feedback(0).id]


async def test_an_outage_leaves_the_letter_as_it_was_and_goes_on_after_it(made: Database, bus: Bus) -> None:
    failures = 2

    async def shaky(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        nonlocal failures
        await note(events, uow)
        if failures:
            failures -= 1
            await uow.execute("select pg_terminate_backend(pg_backend_pid())")

    await parked(made, bus, 1)
    async with running(replays(made, shaky)):
        await eventually(lambda: _states(made, {"replayed"}))
    (letter,) = await letters(made)
    assert letter.attempts == 1
    assert await effects(made) == [feedback(0).id]


async def test_who_was_slower_does_not_undo_a_replay(made: Database, bus: Bus) -> None:
    await parked(made, bus, 1)
    (letter,) = await letters(made)
    async with running(replays(made, note)):
        await eventually(lambda: _states(made, {"replayed"}))
    async with made.unit_of_work() as uow:
        await dead_letters.settle(uow, letter.id, BadRecord("it failed here before it succeeded there"))
    assert await _states(made, {"replayed"})


async def test_what_cannot_be_read_stays_parked_byte_for_byte(made: Database, bus: Bus) -> None:
    headers = (("ce_type", b"\xff\x00"), ("ce_workspace", b"ac\x00me"), ("odd", b"\\u0000 \xc3\xa9"))
    producer = bus.producer()
    await producer.start()
    await producer.send([Message(FEEDBACK_RECEIVED.name, b"acme/x", b"\x00\xff", headers)])
    await producer.stop()
    async with running(ConsumerLoop(bus, made, subscription(note))):
        await eventually(lambda: _parked(made, 1))
    async with made.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    async with running(replays(made, note)):
        await eventually(lambda: _states(made, {"parked"}))
    (letter,) = await letters(made)
    assert (bytes(letter.value), load_headers(letter.headers), letter.attempts) == (b"\x00\xff", headers, 2)


async def test_only_letters_of_our_origins_are_taken(made: Database) -> None:
    message = codec.encode(feedback(1))
    async with made.unit_of_work() as uow:
        for origin in ("scoring/feedback.received.v1", "other/feedback.received.v1"):
            await dead_letters.park(
                uow,
                origin=origin,
                workspace="acme",
                value=message.value,
                headers=message.headers,
                error=BadRecord("x"),
            )
        await uow.execute("update dead_letter set state = 'replay'")
    async with running(replays(made, note)):
        await eventually(lambda: _states(made, {"replayed", "replay"}))
    assert [letter.origin for letter in await letters(made) if letter.state == "replay"] == [
        "other/feedback.received.v1"
    ]


async def _parked(made: Database, count: int) -> bool:
    return len([letter for letter in await letters(made) if letter.state == "parked"]) == count


async def _states(made: Database, states: set[str]) -> bool:
    return {letter.state for letter in await letters(made)} == states


async def _effect_count(made: Database, count: int) -> bool:
    return len(await effects(made)) == count
