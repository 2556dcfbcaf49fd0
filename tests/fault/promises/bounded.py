"""P8: memory stays bounded under more load than there is capacity, with clients that do not read their event streams.
The quiet neighbour of a loud workspace is looked at in tests/unit/ingest/test_fairness.py."""

import asyncio
import re
import socket
import time
from pathlib import Path

import httpx

from deploy.cluster import Process
from tests.fault.checkers import Findings
from tests.fault.promises.profile import Profile
from tests.fault.world import World

_OVERLOAD = 5.0
_STALLED = 10
# A client is cut 20 s after its buffers are full; on loopback they hold 2.8 MB, which takes most of the load to fill.
CUT_SECONDS = 45.0
_OPEN = re.compile(r'^closeloop_sse_clients\{stream="routed"\} (\S+)$', re.MULTILINE)
GROWTH_BYTES = 64 * 1024 * 1024


async def show(world: World, profile: Profile) -> Findings:
    """Five times the rate; the second half of the time may not need much more memory than the first."""
    seconds = profile.seconds / 2
    await world.wait_ready()
    stalled = [
        _stall(process, world.cluster.key) for process in world.cluster.of("routing") for _ in range(_STALLED // 2)
    ]
    world.inject.counts["SSE clients that do not read"] += len(stalled)
    world.inject.note(f"{_OVERLOAD:g} × the rate", f"for {seconds:g} s")
    try:
        async with world.load("P8", rate=world.rate * _OVERLOAD, customers=2000) as load:
            first = await _peaks(world, seconds / 2)
            second = await _peaks(world, seconds / 2)
        open_streams = await _open_streams(world)
    finally:
        for client in stalled:
            client.close()
    result = await world.judge(load.history, 30 + seconds * _OVERLOAD)
    if open_streams:
        result.notes.append(f"{open_streams} of {_STALLED} clients that do not read are still held")
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


async def _open_streams(world: World) -> int:
    """Streams that are still open CUT_SECONDS later at most."""
    count = _STALLED
    until = time.monotonic() + CUT_SECONDS
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        while count and time.monotonic() < until:
            texts = [(await client.get(f"{process.address}/metrics")).text for process in world.cluster.of("routing")]
            count = sum(int(float(found)) for text in texts for found in _OPEN.findall(text))
            await asyncio.sleep(0.5)
    return count


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
    request = f"GET /v1/routed/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    client.sendall(request.encode())
    return client
