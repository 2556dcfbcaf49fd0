"""What is done to a cluster. Each fault is said, counted, and undone by `heal`."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.cluster import Cluster, Process
from shared.contracts.topics import FEEDBACK_RECEIVED

# The session of a consumer is 15 s: who is frozen for longer has lost its partitions, and does not know.
LONGER_THAN_A_SESSION = 20.0
_FAKETIME = tuple(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")) + tuple(
    Path("/usr/lib").glob("faketime/*.so.1")
)


class Injector:
    """Faults on the processes of one cluster. `counts` says what was done, for the table."""

    def __init__(self, cluster: Cluster, dice: random.Random, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.counts: Counter[str] = Counter()
        self._dice = dice
        self._say = say
        self._thaws: set[asyncio.Task[None]] = set()

    def note(self, fault: str, what: str = "") -> None:
        """Count a fault that somebody else injected."""
        self.counts[fault] += 1
        self._say(f"{fault} {what}".rstrip())

    def one_of(self, service: str) -> Process:
        """Any replica that runs."""
        return self._dice.choice([process for process in self.cluster.of(service) if process.pid])

    async def kill(self, process: Process) -> None:
        """SIGKILL, and at once again the same command."""
        self.note("SIGKILL", process.name)
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start)

    async def kill_broker(self, process: Process) -> None:
        """As `kill`, under a name of its own."""
        self.note("SIGKILL broker", process.name)
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start)

    async def chase_the_leader(self) -> None:
        """Kill the broker that leads a partition now: wherever that has moved to since the last time."""
        partition = self._dice.randrange(FEEDBACK_RECEIVED.partitions)
        leader = await leader_of(self.cluster.bus_url, partition)
        await self.kill_broker(self.cluster.processes[f"kafka-{leader}"])

    def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP for some seconds, beside whatever goes on."""
        self.note(f"SIGSTOP {seconds:g} s", process.name)
        process.freeze()

        async def thaw() -> None:
            await asyncio.sleep(seconds)
            process.thaw()

        task = asyncio.create_task(thaw())
        self._thaws.add(task)
        task.add_done_callback(self._thaws.discard)

    async def crash_postgres(self, down_seconds: float = 0.0) -> None:
        """`pg_ctl stop -m immediate`: no goodbye to anybody, recovery at the next start."""
        process = self.cluster.processes["postgres"]
        self.note("pg immediate", f"for {down_seconds:g} s" if down_seconds else "")
        if process.pid:
            os.kill(process.pid, signal.SIGQUIT)
            await asyncio.to_thread(process.terminate, 10)
        await asyncio.sleep(down_seconds)
        await asyncio.to_thread(process.start)

    async def heal(self) -> None:
        """Everything runs and is ready again."""
        if self._thaws:
            await asyncio.gather(*self._thaws)
        for process in self.cluster.processes.values():
            process.thaw()
            await asyncio.to_thread(process.start)


async def leader_of(bus_url: str, partition: int, topic: str = FEEDBACK_RECEIVED.name) -> int:
    """Number of the broker that leads a partition."""
    for _ in range(40):
        admin = AIOKafkaAdminClient(bootstrap_servers=bus_url.removeprefix("kafka://"), request_timeout_ms=5_000)
        try:
            await admin.start()
            (described,) = await admin.describe_topics([topic])
            leader = next(one["leader"] for one in described["partitions"] if one["partition"] == partition)
            if leader >= 0:
                return int(leader)
        except (KafkaError, OSError):
            pass
        finally:
            await admin.close()
        await asyncio.sleep(0.5)
    raise AssertionError(f"{topic}[{partition}] has no leader")


# Faults that a machine may not allow: they say so.


def faketime() -> str | None:
    """The path of libfaketime, for LD_PRELOAD with FAKETIME=+1h; None where it is not installed."""
    return str(_FAKETIME[0]) if _FAKETIME else None


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own that is soon full. Raises PermissionError where mounting is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="closeloop-small-disk-"))
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "closeloop-fault", str(folder)]
    try:
        done = subprocess.run([mount or "mount", *options], capture_output=True, text=True, check=False)
    except OSError as error:
        folder.rmdir()
        raise PermissionError(f"cannot mount a tmpfs: {error}") from None
    if done.returncode:
        folder.rmdir()
        raise PermissionError(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
        folder.rmdir()


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The disk under `folder` has no byte left during the block."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (1024 * 1024, 1024, 1):
                try:
                    while file.write(b"\0" * size):
                        pass
                except OSError:  # ENOSPC: go on with smaller pieces
                    continue
        yield
    finally:
        ballast.unlink(missing_ok=True)
