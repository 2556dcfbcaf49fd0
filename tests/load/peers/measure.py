"""What a run costs: wall time, processor time and memory of processes that are not ours to instrument."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Run:
    """One run of one contender: `cpu_seconds` are its own processes', `beside_seconds` those of the database, which a
    contender brings along or not; the broker serves all alike."""

    seconds: float
    cpu_seconds: float
    beside_seconds: float
    peak_bytes: int
    exact: bool


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes, their threads included."""
    return sum(_fields(pid)[0] for pid in pids)


def tree_cpu_seconds(pid: int) -> float:
    """The same of a process with its children, living and reaped."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(_fields(pid)) + sum(_fields(int(child))[0] for child in children)


def peak_bytes(pids: Sequence[int]) -> int:
    """Most memory that each of them held, added up."""
    total = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.split("VmHWM:")[1].split()[0]) * 1024
    return total


def _fields(pid: int) -> tuple[float, float]:
    """(own, reaped children's) seconds; 0 where the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0, 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS, (int(fields[13]) + int(fields[14])) / _TICKS


async def until(done: Callable[[], Awaitable[bool]], alive: Callable[[], bool], limit_seconds: float) -> float:
    """Seconds until `done`. Raises RuntimeError when the contender has ended, or takes too long."""
    began = time.monotonic()
    while not await done():
        if not alive():
            raise RuntimeError("it ended before it was through")
        if time.monotonic() - began > limit_seconds:
            raise RuntimeError(f"it was not through after {limit_seconds:g} s")
        await asyncio.sleep(_EVERY_SECONDS)
    return time.monotonic() - began
