"""P1: what was answered 2xx has its effects, once, whatever is killed, frozen or cut."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from deploy.cluster import Process
from tests.fault.checkers import Findings
from tests.fault.injectors import LONGER_THAN_A_SESSION
from tests.fault.promises.profile import Profile
from tests.fault.proxy import Proxy
from tests.fault.world import WORKERS, World

# The zombies: frozen with a batch in their hands, before the transaction that would take it.
ZOMBIE_POINT = "consumer.after_fetch:stop:4"
BOUND_SECONDS = 30 + LONGER_THAN_A_SESSION / 2


async def show(world: World, profile: Profile) -> Findings:
    """Zombies first, then one fault after the other."""
    async with world.load("P1") as load:
        zombies = [asyncio.create_task(zombie(world, world.cluster.of(service)[0])) for service in WORKERS]
        until = time.monotonic() + profile.seconds
        faults: list[Callable[[], Awaitable[None]]] = []
        while time.monotonic() < until:
            faults = faults or shuffled(world)
            await faults.pop()()
            await asyncio.sleep(world.dice.uniform(*profile.pause_seconds))
        frozen = await asyncio.gather(*zombies)
        await world.heal()
    result = await world.judge(load.history, BOUND_SECONDS)
    if not any(frozen):
        result.notes.append("no process froze with a batch in its hands: the zombie was not shown")
    return result


async def zombie(world: World, process: Process) -> bool:
    """Freeze a member of a group for longer than its session, with a batch in its hands; whether that came about."""
    await world.armed(process, ZOMBIE_POINT)
    if not await world.until_stopped(process):
        return False
    world.inject.note("zombie", process.name)
    await asyncio.sleep(LONGER_THAN_A_SESSION)
    process.thaw()
    return True


def shuffled(world: World) -> list[Callable[[], Awaitable[None]]]:
    """One of each kind, in an order that the seed gives; the leader is chased more than once."""
    inject, dice = world.inject, world.dice

    def quick(fault: str, act: Callable[[], None]) -> Callable[[], Awaitable[None]]:
        async def done() -> None:
            inject.note(fault)
            act()

        return done

    async def slow_wire() -> None:
        inject.note("latency 100 ms")
        for proxy in world.kafka.each:
            proxy.latency_seconds = 0.1
        await asyncio.sleep(3)
        for proxy in world.kafka.each:
            proxy.latency_seconds = 0.0

    async def swallowed() -> None:
        inject.note("black hole 3 s")
        proxy = dice.choice(world.kafka.each)
        proxy.black_hole()
        await asyncio.sleep(3)
        proxy.heal()

    async def frozen() -> None:
        inject.freeze(inject.one_of(dice.choice(WORKERS)), LONGER_THAN_A_SESSION)

    kinds: list[Callable[[], Awaitable[None]]] = [
        lambda: inject.kill(inject.one_of("ingest")),
        lambda: inject.kill(world.cluster.of(dice.choice(WORKERS))[-1]),
        inject.chase_the_leader,
        inject.chase_the_leader,
        inject.crash_postgres,
        frozen,
        quick("reset Kafka", lambda: world.kafka.all(Proxy.reset)),
        quick("reset database", world.database.reset),
        quick("cut answer of database", lambda: world.database.cut_after(dice.randrange(1, 20_000))),
        quick("cut answer of Kafka", lambda: dice.choice(world.kafka.each).cut_after(dice.randrange(1, 20_000))),
        slow_wire,
        swallowed,
    ]
    dice.shuffle(kinds)
    return kinds
