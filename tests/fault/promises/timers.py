"""P7: a timer fires once, at most 5 s after it was due by the database's clock, whoever is killed meanwhile."""

import asyncio
import time

from tests.fault import checkers
from tests.fault.checkers import Findings
from tests.fault.injectors import LONGER_THAN_A_SESSION, faketime
from tests.fault.promises.profile import Profile
from tests.fault.service import TIMER
from tests.fault.world import World

LATE_SECONDS = 5.0
# What a frozen process has locked comes free when the database ends its idle transaction.
HELD_SECONDS = 3.0
_DATABASE_DOWN_SECONDS = 5.0


async def show(world: World, profile: Profile) -> Findings:
    """Timers due over the length of the load, in a service whose replicas die and freeze, also in the transaction that
    fires; the database is away across due times."""
    if faketime() is None:
        world.say("libfaketime is not installed: clocks are not shifted")
    label = f"P7-{time.time():.0f}"
    await world.evidence.rows(
        "insert into routing.timer (kind, key, workspace, due_at, payload) "
        "select $1, $2 || '-' || n, $3, clock_timestamp() + make_interval(secs => 3 + $4 * n / $5::float8), '{}' "
        "from generate_series(1, $5) n",
        TIMER, label, world.cluster.workspace, profile.seconds, profile.timers,
    )  # fmt: skip
    until = time.monotonic() + profile.seconds + 3
    first, second = world.cluster.of("routing")
    if library := faketime():
        for process, shift in ((first, "+1h"), (second, "-1h")):
            process.extra |= {"LD_PRELOAD": library, "FAKETIME": shift}
            world.inject.note(f"clock {shift}", process.name)
    down = 0.0
    await world.armed(second, "timers.before_commit:stop:3")
    if await world.until_stopped(second, 20):
        world.inject.note("freeze in the transaction", second.name)
        await world.inject.kill(first)
        await asyncio.sleep(min(LONGER_THAN_A_SESSION, max(0.0, until - time.monotonic() - 15)))
        second.thaw()
    began = time.monotonic()
    await world.inject.crash_postgres(_DATABASE_DOWN_SECONDS)
    down += time.monotonic() - began
    await world.armed(first, "timers.before_commit:kill:2")
    starts = first.starts
    await world.inject.kill(second)
    if await world.until_killed(first, starts, 15):
        world.inject.note("kill in the transaction", first.name)
    while time.monotonic() < until:
        await asyncio.sleep(world.dice.uniform(*profile.pause_seconds))
        await world.inject.kill(world.inject.one_of("routing"))
    for process in (first, second):
        process.extra.clear()
    await world.heal()
    return await _judge(world, label, profile.timers, down)


async def _judge(world: World, label: str, count: int, down: float) -> Findings:
    result = Findings(events=count, recovery_bound=LATE_SECONDS + HELD_SECONDS + down)
    began = time.monotonic()
    fired: list[str] = []
    while len(set(fired)) < count and time.monotonic() - began < 60:
        rows = await world.evidence.rows("select key from routing.fault_timer where key like $1 || '-%'", label)
        fired = [row[0] for row in rows]
        await asyncio.sleep(0.5)
    result.lost = count - len(set(fired))
    twice = checkers.duplicates(fired)
    result.duplicates = sum(twice.values())
    result.found("timers twice", twice)
    # `at` is read in the transaction that fires; with one of two replicas killed at any time the other goes on.
    late = await world.evidence.value(
        "select coalesce(percentile_cont(0.5) within group (order by extract(epoch from at - due_at)), 0)::float8 "
        "from routing.fault_timer where key like $1 || '-%'",
        label,
    )
    worst = await world.evidence.value(
        "select coalesce(max(extract(epoch from at - due_at)), 0)::float8 from routing.fault_timer "
        "where key like $1 || '-%'",
        label,
    )
    world.say(
        f"timers fired {late:.2f} s after they were due (median), {worst:.1f} s at most; database away {down:.1f} s"
    )
    result.recovery_seconds = worst
    return result
