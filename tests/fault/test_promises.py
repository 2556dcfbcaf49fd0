"""A selection of `make fault` on one broker: the zombie with and without the fence, a kill under load, and a handler
that fails for all. The rest takes minutes and three brokers."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.fault.checkers import Findings
from tests.fault.history import History
from tests.fault.injectors import LONGER_THAN_A_SESSION
from tests.fault.promises.poison import break_and_mend
from tests.fault.world import World, opened
from tests.support.kafka import missing, why_no_broker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
RATE = 25.0
SEED = 4


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """One broker, one ingest, two replicas of scoring; two of routing, whose fence is away."""
    if reason := why_no_broker():
        missing(reason)
    replicas = {"ingest": 1, "scoring": 2, "routing": 2, "notifier": 0}
    with tempfile.TemporaryDirectory(prefix="closeloop-fault-", ignore_cleanup_errors=True) as folder:
        async with opened(
            Path(folder), seed=SEED, rate=RATE, say=print, brokers=1, replicas=replicas, unfenced="routing"
        ) as world:
            yield world


async def test_a_zombie_and_a_kill_do_no_harm_with_the_fence_and_are_noticed_without(world: World) -> None:
    """Both services get the same feedback and the same fault: a member freezes with a batch in its hands for longer
    than its session, and wakes up. One other is killed meanwhile."""
    zombies = [world.cluster.of(service)[0] for service in ("scoring", "routing")]
    async with world.load("zombie") as load:
        await asyncio.gather(*(world.armed(zombie, "consumer.after_fetch:stop:3") for zombie in zombies))
        frozen = await asyncio.gather(*(world.until_stopped(zombie, 60) for zombie in zombies))
        assert all(frozen), "no process froze with a batch in its hands"
        await world.hold(LONGER_THAN_A_SESSION)
        for zombie in zombies:
            zombie.thaw()
        await world.inject.kill(world.cluster.of("scoring")[1])
        await world.hold(3)
    world.evidence.groups = ["scoring"]
    result = await world.judge(load.history, bound=60)
    assert result.passed(), result
    world.evidence.groups = ["routing"]
    unfenced = await world.judge(load.history, bound=60)
    assert unfenced.duplicates > 0, "without the fence the zombie doubles effects, and the suite must see it"
    assert not unfenced.passed()


async def test_a_handler_that_fails_for_all_stops_its_partition_and_a_replay_loses_nothing(world: World) -> None:
    world.evidence.groups = ["scoring"]
    result = Findings(events=1)
    await break_and_mend(world, result)
    assert not result.notes, result
    assert result.passed(), result
    assert result.events == 151, "the planted one, and the batch"


async def test_an_event_that_only_the_history_has_is_noticed(world: World) -> None:
    """The planted fault of the whole way from history to verdict."""
    world.evidence.groups = ["scoring"]
    async with world.load("lost", wrong_share=0.0) as load:
        assert await world.within(20, lambda: len(load.history.accepted) >= 5)
    assert (await world.judge(load.history, bound=40)).passed()
    invented = History(world.folder / "invented.jsonl")
    for attempt in load.history.attempts:
        invented.note(attempt)
    invented.note(replace(load.history.attempts[0], event=uuid4(), feedback=uuid4()))
    invented.close()
    result = await world.judge(invented, bound=0, patience=0)
    assert (result.lost, result.passed()) == (3, False), "not in the ledger, not in scoring's table, not in the log"
