"""Several members of a group: one effect an event and order per customer while members come, go, die and freeze."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from shared.bus import Bus
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime import consumer
from shared.runtime.consumer import ConsumerLoop, Subscription
from tests.support.harness import effects, feedback, running, send
from tests.support.poll import eventually
from tests.support.worker import note

CUSTOMERS = 30


def events_of(first: int, count: int) -> list[Event[Any]]:
    """Events of many customers, each customer's in ascending number."""
    return [feedback(n, customer=f"customer {n % CUSTOMERS}") for n in range(first, first + count)]


def check(found: Sequence[UUID], sent: Sequence[Event[Any]]) -> None:
    """Nothing lost, nothing twice, and every customer's in the order in which they were sent."""
    number = {event.id: n for n, event in enumerate(sent)}
    assert len(found) - len(set(found)) == 0, "duplicate effects"
    assert set(found) == set(number), f"{len(set(number) - set(found))} lost"
    latest: dict[int, int] = {}
    for event_id in found:
        n = number[event_id]
        assert latest.get(n % CUSTOMERS, -1) < n, "order of a customer broken"
        latest[n % CUSTOMERS] = n


def member(bus: Bus, made: Database, handle: Any = note) -> ConsumerLoop:
    return ConsumerLoop(bus, made, Subscription("scoring", (FEEDBACK_RECEIVED,), handle, max_batch=20))


async def test_members_come_and_go_under_load(made: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "RECLAIM_SECONDS", 1.0)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    by: dict[int, int] = {}

    def counted(who: int) -> Any:
        async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
            await note(events, uow)
            by[who] = by.get(who, 0) + len(events)

        return handle

    sent: list[Event[Any]] = []
    tasks: dict[asyncio.Task[None], ConsumerLoop] = {}
    for turn in range(6):
        fresh = events_of(len(sent), 300)
        sent += fresh
        await send(bus, fresh)
        one = member(bus, made, counted(turn))
        tasks[asyncio.create_task(one.run())] = one
        await eventually(lambda wanted=300 * turn: _effect_count(made, wanted), timeout=30)  # type: ignore[misc]
        if len(tasks) > 1:
            gone = dice.choice(list(tasks))
            if dice.random() < 0.5:
                gone.cancel()  # dies in the middle of whatever it does
            else:
                await tasks[gone].stop()
            del tasks[gone]
            await asyncio.wait([gone])
    await eventually(lambda: _effect_count(made, len(sent)), timeout=30)
    for task, one in tasks.items():
        await one.stop()
        await asyncio.wait([task])
    check(await effects(made), sent)
    assert len([count for count in by.values() if count]) >= 3, "the members did not share"


class Worker:
    """tests.support.worker, with a batch in its hands."""

    def __init__(self, process: asyncio.subprocess.Process, held: int) -> None:
        self.process = process
        self.held = held

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    async def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def worker(url: str, group: str, *options: str) -> AsyncIterator[Worker]:
    """A worker process that holds its first batch before the transaction."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.worker", url, group, *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        assert line.startswith(b"holding "), line
        yield Worker(process, int(line.split()[1]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def note_in(table: str) -> Any:
    async def handle(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        for event in events:
            await uow.execute(f"insert into {table} (event_id) values (:id)", {"id": event.id})

    return handle


async def noted(made: Database, table: str) -> list[UUID]:
    async with made.reader() as reader:
        return [row.event_id for row in await reader.all(f"select event_id from {table} order by n")]


@pytest.mark.slow
async def test_processes_that_are_killed_or_frozen_longer_than_their_session(
    made: Database, bus: Bus, database_url: str
) -> None:
    """The zombie writer, what it does where the fence is missing, and a plain SIGKILL: three groups, because each
    takes a session to be missed."""
    sent = events_of(0, 200)
    await send(bus, sent)
    async with made.unit_of_work() as uow:
        for table in ("killed", "unfenced"):
            await uow.execute(f"create table {table} (n serial, event_id uuid)")
    async with (
        worker(database_url, "scoring") as zombie,
        worker(database_url, "unfenced", "unfenced") as unfenced,
        worker(database_url, "killed") as killed,
    ):
        await killed.kill()
        zombie.freeze()
        unfenced.freeze()
        assert await effects(made) == []
        others = (Subscription(group, (FEEDBACK_RECEIVED,), note_in(group)) for group in ("killed", "unfenced"))
        successors = [member(bus, made), *(ConsumerLoop(bus, made, other) for other in others)]
        async with running(*successors):
            await eventually(lambda: _effect_count(made, len(sent)), timeout=40)
            for group in ("killed", "unfenced"):
                await eventually(lambda group=group: _count_in(made, group, len(sent)), timeout=20)  # type: ignore[misc]
            await zombie.thaw()
            more = events_of(200, 60)
            await send(bus, more)  # the thawed process works on, as a member with nothing in its hands
            await eventually(lambda: _effect_count(made, len(sent) + len(more)), timeout=40)
            check(await effects(made), [*sent, *more])
            await eventually(lambda: _count_in(made, "killed", len(sent) + len(more)), timeout=20)
            before = len(await effects(made))
            await unfenced.thaw()
            await eventually(lambda: _effect_count(made, before + unfenced.held), timeout=45)
        check(await noted(made, "killed"), [*sent, *more])
        twice = set(await noted(made, "unfenced")) & set((await effects(made))[before:])
        assert len(twice) >= unfenced.held, "without the fence the zombie doubles effects"


async def _effect_count(made: Database, wanted: int) -> bool:
    return len(await effects(made)) >= wanted


async def _count_in(made: Database, table: str, wanted: int) -> bool:
    return len(await noted(made, table)) >= wanted
