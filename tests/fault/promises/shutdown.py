"""P6: SIGTERM ends every process with exit code 0 within 25 s, under load, with open event streams, with Kafka away."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.cluster import Process
from tests.fault.checkers import Findings
from tests.fault.promises.profile import Profile
from tests.fault.world import WORKERS, World
from tests.load.client import Connection

BOUND_SECONDS = 25.0
_STREAMS = 10
_STREAM_PATHS = {"scoring": "/v1/scores/stream?window=7d"}


async def show(world: World, profile: Profile) -> Findings:
    """A rolling restart of everything, then of one of each with all brokers frozen."""
    notes: list[str] = []
    async with world.load("P6") as load, _streams(world):
        for _ in range(profile.repeats):
            for service in ("ingest", *WORKERS):
                for process in world.cluster.of(service):
                    await _end(world, process, notes, "SIGTERM")
                    await asyncio.to_thread(process.start)
                    await world.wait_ready()
        brokers = world.cluster.of("kafka")
        world.inject.note("SIGSTOP all brokers")
        for broker in brokers:
            broker.freeze()
        try:
            ends = [
                _end(world, world.cluster.of(name)[0], notes, "SIGTERM, Kafka frozen") for name in ("ingest", *WORKERS)
            ]
            await asyncio.gather(*ends)
        finally:
            for broker in brokers:
                broker.thaw()
        await world.heal()
    result = await world.judge(load.history, 40)
    result.notes += notes
    return result


async def _end(world: World, process: Process, notes: list[str], fault: str) -> None:
    world.inject.note(fault, process.name)
    began = time.monotonic()
    code = await asyncio.to_thread(process.terminate, BOUND_SECONDS + 5)
    seconds = time.monotonic() - began
    if code or seconds > BOUND_SECONDS:
        notes.append(f"{process.name} ended with exit code {code} after {seconds:.1f} s ({fault})")


@asynccontextmanager
async def _streams(world: World) -> AsyncIterator[None]:
    """Clients of event streams, who come back when they are cut."""

    async def follow(process: Process, path: str) -> None:
        port = int((process.address or "").rpartition(":")[2])
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                async with Connection(port, world.cluster.key) as connection:
                    reader = await connection.events(path)
                    while await reader.readline():
                        pass
            await asyncio.sleep(0.5)

    clients = [
        asyncio.create_task(follow(process, path))
        for service, path in _STREAM_PATHS.items()
        for process in world.cluster.of(service)
        for _ in range(_STREAMS // 2)
    ]
    try:
        yield
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
