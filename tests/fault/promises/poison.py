"""P5: a poison record is parked within seconds and delays nobody; a handler that fails for all stops its partition,
and after the fix a replay loses nothing."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from services.ingest.domain import event_id, feedback_id
from shared.bus.connect import connect
from shared.bus.port import Headers, Message, TopicPartition
from shared.contracts.topics import FEEDBACK_RECEIVED
from tests.fault.checkers import Findings, slower
from tests.fault.history import Attempt, History, outcome_of
from tests.fault.promises.profile import Profile
from tests.fault.world import World

PARKED_SECONDS = 5.0
NEIGHBOURS_SECONDS = 1.0
LIMIT = 100  # in a row; the next one stops the partition
_BATCH = 150
_ORIGIN = "scoring/" + FEEDBACK_RECEIVED.name
_GOOD: dict[str, bytes] = {
    "content-type": b"application/json",
    "ce_specversion": b"1.0",
    "ce_type": b"dev.closeloop.feedback.received.v1",
    "ce_source": b"closeloop/ingest",
    "ce_time": b"2026-01-01T00:00:00Z",
    "ce_workspace": b"main",
    "ce_correlationid": b"5f1c0a8e-7d0c-5f0e-9a54-3a1d6c1d7b55",
}


def poisons() -> list[Message]:
    """Eight kinds of records that nobody can read."""
    good = _GOOD | {"ce_id": str(uuid4()).encode()}
    kinds: list[tuple[dict[str, bytes], bytes]] = [
        (good, b"not JSON"),
        (good, b"{}"),
        (good, b"\xff\xfe\x00"),
        ({name: value for name, value in good.items() if name != "ce_type"}, b"{}"),
        (good | {"ce_type": b"dev.closeloop.nothing.known.v9"}, b"{}"),
        (good | {"ce_id": b"not-a-uuid"}, b"{}"),
        (good | {"ce_time": b"2026-01-01T00:00:00"}, b"{}"),
        (good | {"ce_workspace": b"\xff"}, b"{}"),
    ]
    return [Message(FEEDBACK_RECEIVED.name, uuid4().hex.encode(), value, _headers(headers)) for headers, value in kinds]


def _headers(headers: dict[str, bytes]) -> Headers:
    return tuple(headers.items())


async def show(world: World, profile: Profile) -> Findings:
    """Good records alone, poison among them, then a broken handler."""
    starts = _starts(world)
    before = await _parked(world)
    async with world.load("P5") as load:
        await asyncio.sleep(profile.seconds / 4)
        poisoned_from = time.time()
        injected = 0
        until = time.monotonic() + profile.seconds / 2
        while time.monotonic() < until:
            await asyncio.sleep(world.dice.uniform(2, 4))
            injected += await _send(world, [world.dice.choice(poisons())])
        injected += await _send(world, poisons())
        world.inject.counts["poison"] += injected
    result = await world.judge(load.history, 30)
    await _judge_parked(world, before, injected, result)
    await _judge_neighbours(world, load.history, poisoned_from, result)
    if _starts(world) != starts:
        result.notes.append("poison made a process restart")
    await break_and_mend(world, result)
    return result


async def _send(world: World, messages: list[Message]) -> int:
    bus = connect(world.cluster.bus_url, world.cluster.database_url)
    producer = bus.producer()
    await producer.start()
    try:
        await producer.send(messages)
    finally:
        await producer.stop()
    return len(messages)


async def _parked(world: World) -> dict[str, set[TopicPartition]]:
    found: dict[str, set[Any]] = {}
    for group in world.evidence.groups:
        rows = await world.evidence.rows(
            f"select partition, record_offset from {group}.dead_letter where origin = $1",
            f"{group}/{FEEDBACK_RECEIVED.name}",
        )
        found[group] = {(row[0], row[1]) for row in rows}
    return found


async def _judge_parked(world: World, before: dict[str, Any], injected: int, result: Findings) -> None:
    """Parked are those and no others, everywhere, in time."""
    deadline = time.monotonic() + PARKED_SECONDS + 20
    new: dict[str, set[Any]] = {}
    while time.monotonic() < deadline:
        new = {group: where - before[group] for group, where in (await _parked(world)).items()}
        if all(len(where) >= injected for where in new.values()):
            break
        await asyncio.sleep(0.5)
    for group, where in new.items():
        if len(where) != injected:
            result.notes.append(f"{group} parked {len(where)} of {injected} poison records")
    if len({frozenset(where) for where in new.values()}) != 1:
        result.notes.append("the groups parked different records")


async def _judge_neighbours(world: World, history: History, poisoned_from: float, result: Findings) -> None:
    """Good records among poison have their effects nearly as soon as without it."""
    accepted = {event: attempt.at for event, attempt in history.accepted.items()}
    for group in world.evidence.groups:
        waits = await world.evidence.waits(group, accepted)
        quiet = [wait for event, wait in waits.items() if accepted[event] < poisoned_from]
        troubled = [wait for event, wait in waits.items() if accepted[event] >= poisoned_from]
        longer = slower(quiet, troubled)
        world.say(f"{group}: neighbours of poison waited {longer:.2f} s longer")
        if longer > NEIGHBOURS_SECONDS:
            result.notes.append(f"neighbours of poison waited {longer:.2f} s longer in {group}")


async def break_and_mend(world: World, result: Findings) -> None:
    """A customer's 150 events to a handler that fails for all of them."""
    world.inject.note("handler fails for all", "scoring")
    broken = world.folder / "broken-scoring"
    broken.touch()
    history = await _post_batch(world)
    await world.within(90, lambda: _stopped(world))
    mine = await _letters(world)
    if not _stopped(world):
        result.notes.append(f"the partition did not stop: {mine} are parked")
    if not 1 <= mine <= LIMIT + 1:
        result.notes.append(f"{mine} were parked before the partition stopped; at most {LIMIT + 1} should be")
    broken.unlink()
    world.inject.note("fix, restart, replay", f"{mine} dead letters")
    for process in world.cluster.of("scoring"):
        await asyncio.to_thread(process.terminate)
        await asyncio.to_thread(process.start)
    await world.wait_ready()
    await _replay(world)
    replayed = await world.judge(history, 60)
    # what was parked comes after what was not: its order is given up with the operator's word
    result.lost += replayed.lost
    result.duplicates += replayed.duplicates
    result.phantom += replayed.phantom
    result.events += replayed.events
    result.notes += replayed.notes
    result.examples |= {kind: one for kind, one in replayed.examples.items() if "inversions" not in kind}
    if not replayed.recovered():
        result.notes.append(f"replayed only after {replayed.recovery_seconds} s")


async def _post_batch(world: World) -> History:
    history = History(world.folder / "history-P5-broken.jsonl")
    names = [f"broken-{world.seed}-{number}" for number in range(_BATCH)]
    body = [
        {"id": name, "survey": {"id": "fault", "type": "transactional"}, "metric": "nps", "score": 7,
         "channel": "email", "customer": {"id": f"broken-{world.seed}"}} for name in names
    ]  # fmt: skip
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.post(
            f"{world.cluster.of('ingest')[0].address}/v1/feedback",
            json=body,
            headers={"Authorization": f"Bearer {world.cluster.key}"},
        )
    workspace = world.cluster.workspace
    for number, name in enumerate(names):
        event, feedback = event_id(workspace, "api", name, 0), feedback_id(workspace, "api", name)
        status = answer.status_code
        history.note(Attempt(event, feedback, 0, number, 1, outcome_of(status), status, time.time(), 0.0, ""))
    history.close()
    return history


def _stopped(world: World) -> bool:
    return any("partition_stopped" in process.log.read_text() for process in world.cluster.of("scoring"))


async def _letters(world: World) -> int:
    """How many of these the broken handler made dead letters."""
    count = await world.evidence.value(
        "select count(*) from scoring.dead_letter where origin = $1 and error_class = 'Broken'", _ORIGIN
    )
    return int(count)


async def _replay(world: World) -> None:
    """As an operator would."""
    root = Path(__file__).resolve().parents[3]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "dead-letters", "replay", "--origin", _ORIGIN, "--max", "1000"),
        cwd=root,
        env={**world.cluster.of("scoring")[0].environment, "DATABASE_URL": world.cluster.database_url},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    world.say(json.dumps(output.decode().strip()))


def _starts(world: World) -> dict[str, int]:
    return {name: process.starts for name, process in world.cluster.processes.items()}
