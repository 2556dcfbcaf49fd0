"""P11: with the database away ingest goes on by Kafka alone, APIs say 503 within 2 s, workers go on within 10 s."""

import asyncio
import time
from dataclasses import dataclass, field

import httpx

from tests.fault.checkers import Findings
from tests.fault.history import share_ok
from tests.fault.promises.profile import Profile
from tests.fault.world import World

LEAST_OK = 0.999
API_SECONDS = 2.0
RESUME_SECONDS = 10.0
_APIS = {"scoring": "/v1/scores?window=7d", "routing": "/v1/assignments", "notifier": "/v1/followups"}
_CUTS = 8
_GRACE_SECONDS = 1.0


@dataclass
class Answers:
    """What the APIs said during an outage."""

    slow: dict[str, float] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    refused: int = 0


async def show(world: World, profile: Profile) -> Findings:
    """A crash, a black hole, then answers cut at random while all else is well."""
    half = profile.outage_seconds / 2
    answers = Answers()
    async with world.load("P11") as load:
        await asyncio.sleep(5)
        began = time.time()
        world.inject.note("database swallows", f"for {half:g} s")
        world.database.black_hole()
        await _ask(world, half, answers)
        world.database.heal()
        crash = asyncio.create_task(world.inject.crash_postgres(half))
        await _ask(world, half, answers)
        await crash
        ended = time.time()
        resumed = await _resumed(world)
        for _ in range(_CUTS):
            world.inject.note("cut answer of database")
            world.database.cut_after(world.dice.randrange(1, 30_000))
            await asyncio.sleep(1)
        await world.heal()
    result = await world.judge(load.history, 30 + profile.outage_seconds / 2)
    share = share_ok(load.history.between(began, ended))
    world.say(
        f"2xx in the outage {share:.2%}; APIs: {answers.refused} × 503, others {answers.other}, slow {answers.slow}; "
        f"workers went on after {resumed} s"
    )
    if share < LEAST_OK:
        result.notes.append(f"2xx in the outage {share:.2%}, less than {LEAST_OK:.1%}")
    if answers.slow:
        result.notes.append(f"APIs answered later than {API_SECONDS:g} s: {answers.slow}")
    if answers.other or not answers.refused:
        result.notes.append(f"APIs answered other than 503: {answers.other}")
    if resumed is None or resumed > RESUME_SECONDS:
        result.notes.append(f"workers went on only after {resumed} s")
    return result


async def _ask(world: World, seconds: float, answers: Answers) -> None:
    """Ask every API again and again; the first second belongs to connections that were just in use."""
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {world.cluster.key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=15, headers=headers) as client:
        while time.monotonic() - began < seconds:
            for service, path in _APIS.items():
                asked = time.monotonic()
                try:
                    status = (await client.get(f"{world.cluster.of(service)[0].address}{path}")).status_code
                except httpx.TransportError:
                    status = 0
                took = time.monotonic() - asked
                if asked - began < _GRACE_SECONDS or time.monotonic() - began > seconds:
                    continue
                if took > API_SECONDS:
                    answers.slow[service] = max(round(took, 1), answers.slow.get(service, 0.0))
                if status == 503:
                    answers.refused += 1
                else:
                    answers.other[f"{service} {status}"] = answers.other.get(f"{service} {status}", 0) + 1
            await asyncio.sleep(0.3)


async def _resumed(world: World) -> float | None:
    """Seconds until every group has an effect that is younger than now."""
    began = time.monotonic()
    moment = await world.evidence.value("select clock_timestamp()")
    waited = time.monotonic() - began
    while time.monotonic() - began < 60:
        counts = [
            await world.evidence.value(f"select count(*) from {group}.fault_effect where at > $1", moment)
            for group in world.evidence.groups
        ]
        if all(counts):
            return round(time.monotonic() - began - waited, 1)
        await asyncio.sleep(0.25)
    return None
