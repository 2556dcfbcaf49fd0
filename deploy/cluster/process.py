"""One process of the cluster: started, watched and ended by pid, with the same command, settings, port and data."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

HOST = "127.0.0.1"
LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES = 32 * 1024 * 1024
FAMILY_SECONDS = 10.0
# As a container engine's `unless-stopped`: at once, then twice as long each time, until it has run well for a while.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
WELL_SECONDS = 10.0

# A process on a leash ends with the thread that started it, so one thread starts all, and it lives as long as we do.
_starter = ThreadPoolExecutor(1, thread_name_prefix="cluster-starter")


class ClusterError(Exception):
    """The cluster cannot run; one line says why and what to do."""


class Process:
    """See the module. `command` is asked for at every start, so that it may prepare its folder."""

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        log: Path,
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        ready: Callable[[], bool] = lambda: True,
        user: Callable[[], str] = lambda: "",
        stop_signal: signal.Signals = signal.SIGTERM,
        serves_http: bool = False,
        restarts: bool = True,
    ) -> None:
        self.name = name
        self.log = log
        self.port = port
        self.environment = dict(environment or {})
        self.extra: dict[str, str] = {}  # more environment for this one, from its next start on
        self.ready = ready
        self.restarts = restarts
        self.starts = 0
        self.address = f"http://{HOST}:{port}" if serves_http else None
        self._command = command
        self._user = user
        self._stop_signal = stop_signal
        self._popen: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._wanted = False
        self._began = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._again_at: float | None = None

    @property
    def pid(self) -> int | None:
        """While it runs."""
        with self._lock:
            return self._popen.pid if self._popen and self._popen.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Of the last run, when that has ended."""
        with self._lock:
            return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start it, or start it again; does not wait for its health. Nothing happens when it runs already."""
        with self._lock:
            self._wanted = True
            self._again_at = None
            if self.pid is None:
                self._launch()

    def kill(self) -> None:
        """SIGKILL, as a crash: where the cluster restarts what ended, it comes back; else `start` brings it back."""
        self._end(signal.SIGKILL, FAMILY_SECONDS)

    def freeze(self) -> None:
        """SIGSTOP, to it and to its children (PostgreSQL has many)."""
        pid = self.pid
        if pid:
            seen: set[int] = set()
            while more := set(family(pid)) - seen:  # one that is not stopped yet may have made another
                for member in sorted(more):
                    _signal(member, signal.SIGSTOP)
                seen |= more

    def thaw(self) -> None:
        """SIGCONT."""
        pid = self.pid
        for member in family(pid) if pid else ():
            _signal(member, signal.SIGCONT)

    def terminate(self, timeout_seconds: float = 30) -> int:
        """SIGTERM (PostgreSQL: SIGINT, its quick and orderly way), SIGKILL after the timeout; the exit code, negative
        for a signal. It stays down until `start`."""
        with self._lock:
            self._wanted = False
            self._again_at = None
        return self._end(self._stop_signal, timeout_seconds)

    def wait(self, timeout_seconds: float) -> int | None:
        """The exit code of what ends by itself; None when it still runs."""
        popen = self._popen
        try:
            return popen.wait(timeout_seconds) if popen else None
        except subprocess.TimeoutExpired:
            return None

    def tend(self) -> str | None:
        """Start it again when it ended by itself and its pause is over; a sentence when something happened."""
        with self._lock:
            if not (self._wanted and self.restarts) or self._popen is None:
                return None
            code, now = self._popen.poll(), time.monotonic()
            if code is None:
                return None
            if self._again_at is None:
                if now - self._began > WELL_SECONDS:
                    self._pause = FIRST_PAUSE_SECONDS
                self._again_at = now + self._pause
                said = f"{self.name} ended ({_told(code)}); it is started again in {self._pause:g} s"
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
                return said
            if now >= self._again_at:
                self._again_at = None
                self._launch()
            return None

    def last_words(self) -> str:
        """The last line of its log that says something."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - 8192))
                lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        return lines[-1] if lines else "it said nothing"

    def _launch(self) -> None:
        command = list(self._command())
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), self._user(), str(int(signal.SIGKILL))]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            # a session of its own: a Ctrl-C in the terminal is ours to turn into an orderly stop
            self._popen = _starter.submit(
                subprocess.Popen,
                [*leash, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self.environment or None,
                cwd=self.log.parent,
            ).result()
        self._began = time.monotonic()
        self.starts += 1

    def _end(self, sign: signal.Signals, timeout_seconds: float) -> int:
        with self._lock:
            popen = self._popen
        if popen is None:
            return 0
        if popen.poll() is None:
            members = family(popen.pid)
            popen.send_signal(sign)
            for member in members:
                _signal(member, signal.SIGCONT)  # a frozen one hears nothing
            try:
                popen.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
            _outlive([member for member in members if member != popen.pid])
        return popen.wait()


def family(pid: int) -> list[int]:
    """The process and its descendants; only itself where the system has no /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            parents[int(entry.parent.name)] = int(entry.read_text().rsplit(")", 1)[1].split()[1])
    members = [pid]
    for member in members:  # grows while it is walked
        members += [child for child, parent in parents.items() if parent == member]
    return members


def quiet_port() -> int:
    """A free port below those that systems give to outgoing connections: it stays free while its owner is down."""
    chance = SystemRandom()
    for _ in range(1000):
        port = chance.randrange(15_000, 30_000)
        if is_free(port):
            return port
    raise ClusterError(f"no free port was found on {HOST}")


def is_free(port: int) -> bool:
    """Whether somebody could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _outlive(members: Sequence[int]) -> None:
    """Wait until the children of a process that ended are gone; they notice it by themselves, or are killed."""
    deadline = time.monotonic() + FAMILY_SECONDS
    while any(_runs(member) for member in members):
        if time.monotonic() > deadline:
            for member in members:
                _signal(member, signal.SIGKILL)
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def _signal(pid: int, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, sign)


def _told(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
