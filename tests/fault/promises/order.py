"""P3: effects of one customer in accepted order, while the groups rebalance and customers post in haste."""

import asyncio
import time

from tests.fault.checkers import Findings
from tests.fault.promises.profile import Profile
from tests.fault.world import WORKERS, World

_REBALANCE_SECONDS = 10.0
_CUSTOMERS = 50


async def show(world: World, profile: Profile) -> Findings:
    """Every ten seconds one worker of each group goes or comes back."""
    async with world.load("P3", customers=_CUSTOMERS) as load:
        until = time.monotonic() + profile.seconds
        away = False
        while time.monotonic() < until:
            world.inject.note("member leaves" if not away else "member joins")
            for service in WORKERS:
                member = world.cluster.of(service)[-1]
                await asyncio.to_thread(member.start if away else member.terminate)
            away = not away
            await asyncio.sleep(_REBALANCE_SECONDS)
        await world.heal()
    return await world.judge(load.history, 40)
