"""P4: after an outage of D seconds the lag is 0 within 30 s + D/2."""

import asyncio

from tests.fault.checkers import Findings
from tests.fault.promises.profile import Profile
from tests.fault.world import WORKERS, World


async def show(world: World, profile: Profile) -> Findings:
    """All workers stop while the load goes on, and start again."""
    workers = [process for service in WORKERS for process in world.cluster.of(service)]
    async with world.load("P4") as load:
        world.inject.note(f"all workers away {profile.outage_seconds:g} s")
        await asyncio.gather(*(asyncio.to_thread(worker.terminate) for worker in workers))
        await asyncio.sleep(profile.outage_seconds)
        for worker in workers:
            await asyncio.to_thread(worker.start)
    return await world.judge(load.history, 30 + profile.outage_seconds / 2)
