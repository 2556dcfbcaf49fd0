"""One run of a contender, and what it costs: time, processor time and memory of processes that are not ours to
instrument."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.kafka.broker import last_line
from tests.load.peers.topic import Recount, append

_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY_SECONDS = 0.2
_STOP_SECONDS = 30

Process = subprocess.Popen[bytes]


class Failed(Exception):
    """A contender that cannot be measured; one line says why."""


class Job(Protocol):
    """A contender on its topic. What it has counted outlives its processes."""

    @property
    def logs(self) -> Sequence[Path]:
        """What its processes say."""
        ...

    @property
    def database(self) -> int | None:
        """The process of the database that it brings along."""
        ...

    def start(self) -> list[Process]:
        """All its processes, which go on where the last ones were."""
        ...

    async def counted(self) -> int:
        """Events that a crash would not undo: results and position are on disk or with the broker."""
        ...

    async def is_exact(self) -> bool:
        """Whether its results equal the recount."""
        ...


@dataclass(frozen=True)
class Run:
    """One run of one contender. `seconds` from the start of its processes to the last event, `restart_seconds` from
    the start after a kill to the first new event of every partition."""

    events: int
    seconds: float
    own_cpu_seconds: float
    broker_cpu_seconds: float
    database_cpu_seconds: float
    peak_bytes: int
    database_bytes: int
    restart_seconds: float
    exact: bool


async def run(job: Job, recount: Recount, servers: str, broker: int, limit_seconds: float) -> Run:
    """Count the whole topic; kill -9; start again and count one event more in every partition."""
    events, database = recount.events, [job.database] if job.database else []
    before = _beside(broker, database)
    processes = job.start()
    try:
        seconds = await _until_counted(job, processes, events, limit_seconds)
        cpu = cpu_seconds([process.pid for process in processes])
        beside = [now - then for now, then in zip(_beside(broker, database), before, strict=True)]
        memory = peak_bytes([process.pid for process in processes]), tree_bytes(database)
        exact = await job.is_exact()
    finally:
        await _end(processes, signal.SIGKILL)
    await append(servers, recount)
    processes = job.start()
    try:
        restart = await _until_counted(job, processes, recount.events, limit_seconds)
        exact = await job.is_exact() and exact
    finally:
        await _end(processes, signal.SIGTERM)
    return Run(events, seconds, cpu, *beside, *memory, restart, exact)


async def _until_counted(job: Job, processes: list[Process], events: int, limit_seconds: float) -> float:
    began = time.monotonic()
    while (counted := await job.counted()) < events:
        if any(process.poll() is not None for process in processes):
            said = last_line("\n".join(log.read_text(errors="replace") for log in job.logs))
            raise Failed(f"ended after {counted:,} of {events:,} events: {said[:200]}")
        if time.monotonic() - began > limit_seconds:
            raise Failed(f"had counted {counted:,} of {events:,} events after {limit_seconds:g} s")
        await asyncio.sleep(_EVERY_SECONDS)
    return time.monotonic() - began


async def _end(processes: list[Process], sign: signal.Signals) -> None:
    for process in processes:
        process.send_signal(sign)
    for process in processes:
        try:
            await asyncio.to_thread(process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _beside(broker: int, database: Sequence[int]) -> tuple[float, float]:
    return tree_cpu_seconds([broker]), tree_cpu_seconds(database)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes, their threads included."""
    return sum(_fields(pid)[0] for pid in pids)


def tree_cpu_seconds(pids: Iterable[int]) -> float:
    """The same of processes with their children, living and reaped."""
    return sum(sum(_fields(pid)) + cpu_seconds(_children(pid)) for pid in pids)


def peak_bytes(pids: Iterable[int]) -> int:
    """Most memory that each of them held, added up."""
    return sum(_status(pid, "status", "VmHWM:") for pid in pids)


def tree_bytes(pids: Iterable[int]) -> int:
    """Memory that processes and their children hold now; what they share counts once."""
    return sum(_status(one, "smaps_rollup", "Pss:") for pid in pids for one in (pid, *_children(pid)))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _status(pid: int, file: str, field: str) -> int:
    try:
        found = Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found.split(field)[1].split()[0]) * 1024


def _fields(pid: int) -> tuple[float, float]:
    """(own, reaped children's) seconds; 0 where the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS, (int(fields[13]) + int(fields[14])) / _TICKS
