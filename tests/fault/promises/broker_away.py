"""P10: with Kafka away ingest goes on accepting into its spool, which is shipped in order when Kafka is back; also
where only one of its processes has lost Kafka, and customers post now here, now there."""

import asyncio
import time
from collections.abc import Callable

from tests.fault.checkers import Findings
from tests.fault.history import share_ok
from tests.fault.promises.profile import Profile
from tests.fault.proxy import Proxy
from tests.fault.world import World

LEAST_OK = 0.999
_SOME_BEFORE = 5.0
_TIMES_ALONE = 3
_ALONE_SECONDS = 3.0


async def show(world: World, profile: Profile) -> Findings:
    """One process alone, now and then; then refused, swallowed, frozen: a third of the outage each, without a break."""
    third = profile.outage_seconds / 3
    async with world.load("P10") as load:
        await asyncio.sleep(_SOME_BEFORE)
        began = time.time()
        for _ in range(_TIMES_ALONE):
            await _hold(
                world, _ALONE_SECONDS, "Kafka refuses ingest-1 alone", lambda: world.kafka_apart.all(Proxy.refuse)
            )
            world.kafka_apart.all(Proxy.heal)
            await asyncio.sleep(_ALONE_SECONDS)
        await _hold(world, third, "Kafka refuses", lambda: world.all_of_kafka(Proxy.refuse))
        await _hold(world, third, "Kafka swallows", lambda: world.all_of_kafka(Proxy.black_hole))
        world.inject.note("brokers frozen", f"for {third:g} s")
        for broker in world.cluster.of("kafka"):
            broker.freeze()
        world.all_of_kafka(Proxy.heal)
        await asyncio.sleep(third)
        ended = time.time()
        waiting = await world.evidence.value("select count(*) from ingest.outbox")
        await world.heal()
        # the spool is shipped while new feedback arrives behind it
        await asyncio.sleep(_SOME_BEFORE)
    result = await world.judge(load.history, 30 + profile.outage_seconds / 2)
    share = share_ok(load.history.between(began, ended))
    world.say(
        f"2xx in the outage {share:.2%}, {waiting} events in the spool at its end, statuses {dict(load.statuses)}"
    )
    if share < LEAST_OK:
        result.notes.append(f"2xx in the outage {share:.2%}, less than {LEAST_OK:.1%}")
    if not waiting:
        result.notes.append("nothing was spooled")
    left = await world.evidence.value("select count(*) from ingest.outbox")
    if left:
        result.notes.append(f"{left} events are still in the spool")
    return result


async def _hold(world: World, seconds: float, fault: str, act: Callable[[], None]) -> None:
    world.inject.note(fault, f"for {seconds:g} s")
    act()
    await asyncio.sleep(seconds)
