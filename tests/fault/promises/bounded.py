"""P8, the part that exists: memory stays bounded under more load than there is capacity, with clients that do not read
their event streams. Limits per workspace (429) do not exist yet, so the quiet neighbour is not looked at."""

import asyncio
import socket
import time
from pathlib import Path

from deploy.cluster import Process
from tests.fault.checkers import Findings
from tests.fault.promises.profile import Profile
from tests.fault.world import World

_OVERLOAD = 5.0
_STALLED = 10
GROWTH_BYTES = 64 * 1024 * 1024


async def show(world: World, profile: Profile) -> Findings:
    """Five times the rate; the second half of the time may not need much more memory than the first."""
    seconds = profile.seconds / 2
    stalled = [
        _stall(process, world.cluster.key) for process in world.cluster.of("scoring") for _ in range(_STALLED // 2)
    ]
    world.inject.counts["SSE clients that do not read"] += len(stalled)
    world.inject.note(f"{_OVERLOAD:g} × the rate", f"for {seconds:g} s")
    try:
        async with world.load("P8", rate=world.rate * _OVERLOAD, customers=2000) as load:
            first = await _peaks(world, seconds / 2)
            second = await _peaks(world, seconds / 2)
    finally:
        for client in stalled:
            client.close()
    result = await world.judge(load.history, 30 + seconds * _OVERLOAD)
    for name, peak in second.items():
        if peak - first.get(name, peak) > GROWTH_BYTES:
            result.notes.append(f"{name} grew by {(peak - first[name]) / 1e6:.0f} MB under overload")
    world.say(
        f"largest process {max(second.values()) / 1e6:.0f} MB; accepted {len(load.history.accepted)}, {load.statuses}"
    )
    return result


async def _peaks(world: World, seconds: float) -> dict[str, int]:
    """Name → largest resident size in bytes of our processes."""
    peaks: dict[str, int] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for service in ("ingest", "scoring", "routing", "notifier"):
            for process in world.cluster.of(service):
                peaks[process.name] = max(peaks.get(process.name, 0), _resident_bytes(process))
        await asyncio.sleep(0.5)
    return peaks


def _resident_bytes(process: Process) -> int:
    try:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096


def _stall(process: Process, key: str) -> socket.socket:
    """A client of an event stream that never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", process.port))
    request = f"GET /v1/scores/stream?window=7d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    client.sendall(request.encode())
    return client
