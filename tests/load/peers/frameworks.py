"""The contenders in Python: each a small program (programs/) in a virtual environment of its own, because their Kafka
clients' versions conflict."""

import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from deploy.kafka.broker import HOST, ROOT, free_port, last_line
from deploy.toolchain import TOOLS
from tests.load.peers import windows
from tests.load.peers.measure import Failed, Job, Process
from tests.load.peers.topic import PARTITIONS, Recount

_PROGRAMS = Path(__file__).with_name("programs")
_CACHE = ROOT / ".cache" / "peers"
_INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Framework:
    """`name` is the program's and its requirements'; `package` what they are about. `divisor`: the slow ones count a
    share of the events, or one round would take hours. As many processes as are quickest beside the broker on two
    cores: what Faust and Quix send costs the broker as much as it costs them."""

    name: str
    package: str
    title: str
    divisor: int
    processes: int

    @property
    def requirements(self) -> Path:
        """Exact versions."""
        return _PROGRAMS / f"{self.name}.txt"

    @property
    def version(self) -> str:
        """As the requirements pin it."""
        pins = dict(line.split("==") for line in self.requirements.read_text().splitlines() if "==" in line)
        return pins[self.package]


FRAMEWORKS = (
    Framework("bytewax", "bytewax", "Bytewax, 2 processes", divisor=1, processes=2),
    Framework("quix", "quixstreams", "Quix Streams, 1 process", divisor=10, processes=1),
    Framework("faust", "faust-streaming", "Faust, 1 process", divisor=100, processes=1),
)


def install(framework: Framework) -> str | None:
    """Its environment, made anew where the requirements have changed; why it cannot be done, or None."""
    uv, folder = str(TOOLS / "bin" / "uv"), _CACHE / framework.name
    python = str(_python(framework))
    commands = [[uv, "pip", "sync", "--quiet", "--python", python, str(framework.requirements)]]
    if not Path(python).exists():
        commands.insert(0, [uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    for command in commands:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALL_SECONDS,
                env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"its installation failed: {error}"
        if done.returncode:
            return f"its installation failed: {last_line(done.stderr)[:200]}"
    return None


def _python(framework: Framework) -> Path:
    return _CACHE / framework.name / "bin" / "python"


@dataclass(frozen=True)
class _Program:
    """A program whose position is what its consumer group has committed."""

    framework: Framework
    servers: str
    name: str
    folder: Path
    recount: Recount
    admin: AIOKafkaAdminClient
    database = None

    @property
    def logs(self) -> list[Path]:
        return [self.folder / f"{n}.log" for n in range(self.framework.processes)]

    @property
    def output(self) -> str:
        return f"{self.name}-out"

    def start(self) -> list[Process]:
        return [self._process(log, self.arguments(n)) for n, log in enumerate(self.logs)]

    def arguments(self, number: int) -> list[str]:
        """Of the n-th process."""
        arguments = self.servers, self.recount.topic, self.output, str(PARTITIONS), self.name
        return [*arguments, str(self.folder / f"state-{number}")]

    def _process(self, log: Path, arguments: list[str]) -> Process:
        command = [str(_python(self.framework)), str(_PROGRAMS / f"{self.framework.name}_job.py"), *arguments]
        # its own modules alone: this repository is on the path of whoever runs the bench
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with log.open("w") as output:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)

    async def counted(self) -> int:
        return await windows.committed(self.admin, self.name, self.recount.topic)

    async def is_exact(self) -> bool:
        return await windows.is_exact(self.servers, self.output, self.recount)


@dataclass(frozen=True)
class _Bytewax(_Program):
    """It joins no group and commits no offsets: its position lies beside its state, in SQLite files."""

    addresses: list[str]

    @property
    def recovery(self) -> Path:
        """The folder of these files, made by `bytewax.recovery`."""
        return self.folder / "recovery"

    def arguments(self, number: int) -> list[str]:
        topics = self.servers, self.recount.topic, self.output
        return [*topics, str(self.recovery), str(number), *self.addresses]

    def prepare(self) -> None:
        """As many files as processes."""
        self.recovery.mkdir(parents=True)
        tool = [str(_python(self.framework)), "-m", "bytewax.recovery", str(self.recovery), str(len(self.addresses))]
        done = subprocess.run(tool, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"bytewax.recovery failed: {last_line(done.stderr)[:200]}")

    async def counted(self) -> int:
        """Offsets of the last snapshots that it would resume from: those before the frontier of all its workers."""
        snapshots: dict[tuple[str, int], bytes] = {}
        fronts: dict[tuple[int, int], int] = {}
        for file in self.recovery.glob("*.sqlite3"):
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                snapshots |= {(key, epoch): state for key, epoch, state in database.execute(_OFFSETS)}
                fronts |= {(run, worker): front for run, worker, front in database.execute(_FRONTS)}
        last_run = max((run for run, _ in fronts), default=0)
        frontier = min((front for (run, _), front in fronts.items() if run == last_run), default=0)
        last = {key: state for (key, epoch), state in sorted(snapshots.items()) if epoch < frontier}
        return sum(max(0, pickle.loads(state)) for state in last.values())


_OFFSETS = "select state_key, snap_epoch, ser_change from snaps where step_id = 'peers.answers'"
_FRONTS = "select ex_num, worker_index, worker_frontier from fronts"


@asynccontextmanager
async def job(framework: Framework, servers: str, recount: Recount, folder: Path, number: int) -> AsyncIterator[Job]:
    """The n-th run, with a group and a state of its own."""
    name = f"{framework.name}-{number}"
    own = folder / name
    own.mkdir()
    async with windows.output_topic(servers, f"{name}-out") as admin:
        common = framework, servers, name, own, recount, admin
        if framework.name != "bytewax":
            yield _Program(*common)
            return
        bytewax = _Bytewax(*common, [f"{HOST}:{free_port()}" for _ in range(framework.processes)])
        bytewax.prepare()
        yield bytewax
