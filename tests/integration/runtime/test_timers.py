"""Durable timers: each fires once, in order, by the database clock, whatever happens to processes and handlers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.db.wakeup import Wakeups
from shared.runtime.replays import Replays, menders_of_timers
from shared.runtime.timers import Timer, TimerHandler, TimerLoop
from shared.telemetry import metrics
from tests.support.harness import SCHEMA, running
from tests.support.poll import eventually


@pytest.fixture
async def made(made: Database) -> Database:
    async with made.unit_of_work() as uow:
        await uow.execute("create table fired (n serial, workspace text, key text, due_at timestamptz, payload json)")
    return made


async def note(timers: Sequence[Timer], uow: UnitOfWork) -> None:
    for timer in timers:
        await uow.execute(
            "insert into fired (workspace, key, due_at, payload) values (:workspace, :key, :due_at, :payload)",
            {
                "workspace": timer.workspace,
                "key": timer.key,
                "due_at": timer.due_at,
                "payload": json.dumps(timer.payload),
            },
        )


async def fired(made: Database) -> list[str]:
    async with made.reader() as reader:
        return [row.key for row in await reader.all("select key from fired order by n")]


async def waiting(made: Database) -> list[str]:
    async with made.reader() as reader:
        return [row.key for row in await reader.all("select key from timer order by due_at")]


async def letters(made: Database) -> Sequence[Any]:
    async with made.reader() as reader:
        return await reader.all("select * from dead_letter order by parked_at")


async def schedule(made: Database, *keys: str, kind: str = "sla", workspace: str = "acme", **when: Any) -> None:
    async with made.unit_of_work() as uow:
        for key in keys:
            await uow.schedule(kind, key, workspace=workspace, payload={"key": key}, **when)


def loop(made: Database, handlers: Mapping[str, TimerHandler] | None = None) -> TimerLoop:
    return TimerLoop(made, asyncio.Event(), handlers or {"sla": note})


async def test_two_loops_race_and_every_timer_fires_once_and_in_order_of_due_times(made: Database) -> None:
    keys = [f"{n:03}" for n in range(400)]
    async with made.unit_of_work() as uow:
        start = await uow.now() - timedelta(hours=1)
        for n in reversed(range(400)):
            due = start + timedelta(seconds=n)
            await uow.schedule("sla", keys[n], workspace="acme", payload={}, due_at=due)
    async with running(loop(made), loop(made)):
        await eventually(lambda: _fired_count(made, 400))
    assert sorted(await fired(made)) == keys
    assert await waiting(made) == []


async def test_one_loop_keeps_the_order_of_due_times_and_hands_over_what_was_given(made: Database) -> None:
    async with made.unit_of_work() as uow:
        now = await uow.now()
        for n in (3, 1, 2):
            due = now - timedelta(seconds=10 - n)
            await uow.schedule("sla", str(n), workspace="acme", payload={"n": n}, due_at=due)
    async with running(loop(made)):
        await eventually(lambda: _fired_count(made, 3))
    async with made.reader() as reader:
        rows = await reader.all("select * from fired order by n")
    assert [row.key for row in rows] == ["1", "2", "3"]
    assert [row.payload for row in rows] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert rows[0].due_at == now - timedelta(seconds=9)
    assert rows[0].workspace == "acme"


async def test_lateness_is_measured_by_the_database_clock(made: Database) -> None:
    async with made.unit_of_work() as uow:
        due = await uow.now() - timedelta(seconds=7)
        await uow.schedule("late", "a", workspace="acme", payload={}, due_at=due)
    async with running(loop(made, {"late": note})):
        await eventually(lambda: _fired_count(made, 1))
    late = metrics.REGISTRY.get_sample_value("closeloop_timers_late_seconds_sum", {"service": SCHEMA, "kind": "late"})
    assert late is not None
    assert 7 <= late < 17


async def test_setting_it_again_moves_it_and_cancel_removes_it(made: Database) -> None:
    await schedule(made, "moved", "removed", after_seconds=0)
    await schedule(made, "moved", after_seconds=3600)
    async with made.unit_of_work() as uow:
        assert await uow.cancel("sla", "removed")
        assert not await uow.cancel("sla", "removed")
        assert not await uow.cancel("other kind", "moved")
    await schedule(made, "mark")
    async with running(loop(made)):
        await eventually(lambda: _fired_count(made, 1))
    assert await fired(made) == ["mark"]
    assert await waiting(made) == ["moved"]


async def test_the_same_key_in_two_workspaces_is_two_timers(made: Database) -> None:
    for workspace in ("acme", "globex"):
        await schedule(made, "same", workspace=workspace, after_seconds=3600)
    async with made.unit_of_work("acme") as uow:
        assert await uow.cancel("sla", "same")
    assert await waiting(made) == ["same"]
    await schedule(made, "same", workspace="acme", after_seconds=3600)
    async with made.unit_of_work() as uow:
        assert await uow.cancel("sla", "same", workspace="globex")
        left = (await uow.execute("select workspace from timer")).scalars().all()
    assert list(left) == ["acme"]


async def test_a_rolled_back_timer_never_was_and_a_rolled_back_firing_fires_again(made: Database) -> None:
    with pytest.raises(LookupError):
        await _schedule_and_fail(made)
    assert await waiting(made) == []
    attempts = 0

    async def outage_once(timers: Sequence[Timer], uow: UnitOfWork) -> None:
        nonlocal attempts
        attempts += 1
        await note(timers, uow)
        if attempts == 1:
            await uow.execute("select pg_terminate_backend(pg_backend_pid())")

    await schedule(made, "a")
    async with running(loop(made, {"sla": outage_once})):
        await eventually(lambda: _fired_count(made, 1))
    assert await fired(made) == ["a"]
    assert await letters(made) == []


async def test_one_that_fails_is_parked_and_those_behind_it_fire(made: Database) -> None:
    async def handle(timers: Sequence[Timer], uow: UnitOfWork) -> None:
        await note(timers, uow)
        if "bad" in {timer.key for timer in timers}:
            raise LookupError("mina@example.org")

    await schedule(made, "1", "2")
    await schedule(made, "bad")
    await schedule(made, "3", "4")
    async with running(loop(made, {"sla": handle}), loop(made, {"sla": handle})):
        await eventually(lambda: _fired_count(made, 4))
        (letter,) = await eventually(lambda: letters(made))
    assert sorted(await fired(made)) == ["1", "2", "3", "4"]
    assert (letter.origin, letter.workspace, letter.error, letter.attempts) == ("timers/sla", "acme", "LookupError", 1)


async def test_a_parked_timer_can_be_replayed_with_its_own_due_time(made: Database) -> None:
    seen: list[Timer] = []
    broken = True

    async def handle(timers: Sequence[Timer], uow: UnitOfWork) -> None:
        if broken:
            raise LookupError
        seen.extend(timers)

    async with made.unit_of_work() as uow:
        due = await uow.schedule("sla", "a", workspace="acme", payload={"n": 1}, due_at=await uow.now())
    async with running(loop(made, {"sla": handle})):
        await eventually(lambda: letters(made))
    broken = False
    async with made.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    async with running(Replays(made, asyncio.Event(), menders_of_timers({"sla": handle}))):
        await eventually(lambda: _state(made, "replayed"))
    assert seen == [Timer("sla", "a", "acme", due, {"n": 1})]


async def test_when_all_fail_the_timers_stay_for_a_mended_handler(made: Database) -> None:
    async def broken(timers: Sequence[Timer], uow: UnitOfWork) -> None:
        raise LookupError

    keys = [f"{n:03}" for n in range(130)]
    await schedule(made, *keys)
    one = loop(made, {"sla": broken, "other": note})
    async with running(one):
        await eventually(lambda: one._stopped, timeout=30)
        await schedule(made, "x", kind="other")
        await eventually(lambda: _fired_count(made, 1))
    assert len(await letters(made)) == 100
    async with running(loop(made)):
        await eventually(lambda: _fired_count(made, 31))


async def test_it_survives_a_restart(made: Database) -> None:
    async with running(loop(made)):
        await schedule(made, "a", after_seconds=0.5)
    assert await fired(made) == []
    async with running(loop(made)):
        await eventually(lambda: _fired_count(made, 1))


async def test_a_sooner_one_wakes_the_loop(made: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wakeups = Wakeups(database_url, SCHEMA)
    one = TimerLoop(made, wakeups.on("timer"), {"sla": note})
    looked = asyncio.Event()

    async def idle_for_ever() -> float:
        looked.set()
        return 3600

    monkeypatch.setattr(one, "_idle_seconds", idle_for_ever)  # only a wake-up ends it
    async with running(one, wakeups):
        await eventually(looked.is_set)
        await schedule(made, "soon")
        await eventually(lambda: _fired_count(made, 1), timeout=5)


async def test_a_handler_may_set_its_own_timer_again(made: Database) -> None:
    async def tick(timers: Sequence[Timer], uow: UnitOfWork) -> None:
        await note(timers, uow)
        for timer in timers:
            n = timer.payload["n"] + 1
            if n < 4:
                await uow.schedule(
                    timer.kind, timer.key, workspace=timer.workspace, payload={"n": n}, after_seconds=0.1
                )

    async with made.unit_of_work() as uow:
        await uow.schedule("sla", "tick", workspace="acme", payload={"n": 1})
    async with running(loop(made, {"sla": tick}), loop(made, {"sla": tick})):
        await eventually(lambda: _fired_count(made, 3))
    assert await waiting(made) == []


async def test_a_kind_without_a_handler_stays(made: Database) -> None:
    await schedule(made, "later version", kind="unknown")
    await schedule(made, "mine")
    async with running(loop(made)):
        await eventually(lambda: _fired_count(made, 1))
    assert await waiting(made) == ["later version"]


async def test_a_timer_in_other_hands_is_not_asked_for_in_a_tight_loop(made: Database) -> None:
    await schedule(made, "held")
    one = loop(made)
    async with holding(made):
        assert await one._idle_seconds() >= 0.02
        assert not await one._fire("sla", 100)


@asynccontextmanager
async def holding(made: Database) -> AsyncIterator[None]:
    async with made.unit_of_work() as uow:
        await uow.execute("select * from timer for update")
        yield


async def _schedule_and_fail(made: Database) -> None:
    async with made.unit_of_work() as uow:
        await uow.schedule("sla", "a", workspace="acme", payload={})
        raise LookupError


async def _fired_count(made: Database, count: int) -> bool:
    return len(await fired(made)) == count


async def _state(made: Database, state: str) -> bool:
    return {letter.state for letter in await letters(made)} == {state}


async def test_timers_that_a_frozen_process_holds_fire_elsewhere_within_five_seconds(made: Database) -> None:
    frozen, thawed = asyncio.Event(), asyncio.Event()

    async def freezes(timers: Sequence[Timer], uow: UnitOfWork) -> None:
        await note(timers, uow)
        frozen.set()
        await thawed.wait()

    wakeup = asyncio.Event()
    async with running(TimerLoop(made, wakeup, {"sla": freezes})):
        await schedule(made, "one")
        wakeup.set()
        await asyncio.wait_for(frozen.wait(), 10)
        async with running(TimerLoop(made, asyncio.Event(), {"sla": note})):

            async def fired_elsewhere() -> bool:
                return await fired(made) == ["one"]

            await eventually(fired_elsewhere, timeout=20)
            async with made.reader() as reader:
                late = await reader.scalar("select extract(epoch from clock_timestamp() - min(due_at)) from fired")
            assert late <= 5
        thawed.set()
        await schedule(made, "two")

        async def goes_on() -> bool:
            return await fired(made) == ["one", "two"]

        await eventually(goes_on)
