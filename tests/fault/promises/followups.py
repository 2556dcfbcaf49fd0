"""P2: no message twice, at real receivers, wherever the notifier dies; what may have happened is shown as unknown."""

import asyncio

from tests.fault.checkers import Findings
from tests.fault.injectors import LONGER_THAN_A_SESSION
from tests.fault.promises.profile import Profile
from tests.fault.world import World

POINTS = (
    "delivery.after_claim",
    "delivery.after_send",
    "delivery.before_mark",
    "outbox.after_send",
    "outbox.before_mark",
    "consumer.before_commit",
)
FROZEN_POINTS = ("delivery.after_claim", "delivery.after_send", "consumer.after_fetch")
_REACH_SECONDS = 25.0


async def show(world: World, profile: Profile) -> Findings:
    """One replica is killed at every point, the other frozen there for longer than lease margins and sessions."""
    missed: list[str] = []
    async with world.load("P2", rate=world.rate / 2, promoter_share=0.5) as load:
        for _ in range(profile.repeats):
            freezes = asyncio.create_task(_freeze(world, missed))
            for point in POINTS:
                if await _kill(world, point):
                    world.inject.note("kill at point", point)
                else:
                    missed.append(point)
            await freezes
        await _drop(world)
        await world.heal()
    result = await world.judge(load.history, 30 + LONGER_THAN_A_SESSION / 2)
    await world.judge_followups(load.history, result, seconds=90)
    if missed:
        world.say(f"not reached in {_REACH_SECONDS:g} s: {', '.join(missed)}")
    if len(missed) > profile.repeats * 3:
        result.notes.append(f"most crash points were never reached: {', '.join(missed)}")
    return result


async def _kill(world: World, point: str) -> bool:
    """Whether a process killed itself at the point. One replica at a time has an outbox's lease, so both are armed, and
    of a service whose replicas are not frozen meanwhile."""
    armed = world.cluster.of("routing") if point.startswith("outbox") else world.cluster.of("notifier")[:1]
    for process in armed:
        await world.armed(process, f"{point}:kill:{world.dice.randrange(1, 6)}")
    starts = {process: process.starts for process in armed}
    killed = await world.within(
        _REACH_SECONDS, lambda: any(process.starts > count or not process.pid for process, count in starts.items())
    )
    for process, count in starts.items():
        if process.starts == count:
            await world.disarm(process)
    return killed


async def _freeze(world: World, missed: list[str]) -> None:
    frozen = world.cluster.of("notifier")[1]
    for point in FROZEN_POINTS:
        await world.armed(frozen, f"{point}:stop:{world.dice.randrange(1, 4)}")
        if await world.until_stopped(frozen, _REACH_SECONDS):
            world.inject.note("freeze at point", point)
            await asyncio.sleep(LONGER_THAN_A_SESSION)
            frozen.thaw()
        else:
            missed.append(point)


async def _drop(world: World) -> None:
    """Receivers that take a message and hang up without a word."""
    world.inject.note("accept, then drop: mail")
    world.mails.drop_after_data = True
    before = len(world.mails.accepted)
    await world.within(15, lambda: len(world.mails.accepted) >= before + 3)
    world.mails.drop_after_data = False
    world.inject.note("accept, then drop: webhook")
    world.hooks.answers += ["drop"] * 3
    await world.within(15, lambda: not world.hooks.answers)
