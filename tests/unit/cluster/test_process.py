"""One process of the cluster: restarts with pauses, ends by pid, leaves no child and no orphan behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.cluster.process import LEASH, Process, family, is_free, quiet_port
from tests.support.poll import eventually

ROOT = Path(__file__).parents[3]
WAITING = "import time; print('up', flush=True); time.sleep(600)"
# Says the pid of a child that outlives it unless somebody sees to it.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", {WAITING!r}])
print(child.pid, flush=True)
time.sleep(600)
"""
Make = Callable[..., Process]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Process] = []

    def one(code: str, **options: bool) -> Process:
        command = [sys.executable, "-S", "-c", code]
        made.append(Process("one", lambda: command, tmp_path / "one.log", **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for process in made:
        process.terminate(5)


def _state(pid: int) -> str:
    """R, S, T (stopped), Z; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def _tended(process: Process) -> Callable[[], bool]:
    def look() -> bool:
        process.tend()
        return process.starts == 2 and process.pid is not None

    return look


async def test_what_ends_by_itself_is_started_again_with_the_same_command(make: Make) -> None:
    process = make(WAITING)
    process.start()
    await eventually(lambda: process.log.read_text() == "up\n")
    process.kill()
    said = process.tend()
    assert said is not None
    assert "by SIGKILL" in said
    await eventually(_tended(process))
    await eventually(lambda: process.log.read_text() == "up\nup\n")


async def test_each_pause_is_twice_as_long(make: Make) -> None:
    process = make("raise SystemExit(3)")
    process.start()
    pauses: list[str] = []

    def ended_thrice() -> bool:
        if said := process.tend():
            pauses.append(said)
        return len(pauses) == 3

    await eventually(ended_thrice)
    assert [said.rpartition(" in ")[2] for said in pauses] == ["0.2 s", "0.4 s", "0.8 s"]
    assert "exit code 3" in pauses[0]


async def test_what_was_told_to_end_stays_down_until_it_is_started(make: Make) -> None:
    process = make(WAITING)
    process.start()
    await eventually(lambda: process.log.read_text())
    assert process.terminate(5) == -signal.SIGTERM
    assert process.tend() is None
    assert (process.pid, process.starts) == (None, 1)
    process.start()
    assert process.pid


async def test_nothing_is_restarted_where_that_is_not_wanted(make: Make) -> None:
    process = make(WAITING, restarts=False)
    process.start()
    process.kill()
    assert process.tend() is None
    assert process.exit_code == -signal.SIGKILL


async def test_a_frozen_family_stands_still_as_a_whole_and_a_kill_leaves_no_child(make: Make) -> None:
    process = make(PARENT)
    process.start()
    child = int(await eventually(lambda: process.log.read_text().split()[0]))
    pid = process.pid or 0
    assert family(pid) == [pid, child]
    process.freeze()
    await eventually(lambda: _state(pid) == _state(child) == "T")
    process.thaw()
    await eventually(lambda: "T" not in _state(pid) + _state(child))
    process.freeze()
    os.kill(child, signal.SIGCONT)
    os.kill(child, signal.SIGKILL)  # python children do not end with their parent; PostgreSQL's do
    process.kill()
    assert _state(child) in ("", "Z")


def _piped(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell a process of its parent's end")
async def test_no_orphan_is_left_when_the_runner_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from deploy.cluster.process import Process
process = Process("one", lambda: [sys.executable, "-S", "-c", {WAITING!r}], Path({str(tmp_path / "one.log")!r}))
process.start()
print(process.pid, flush=True)
sys.stdin.read()
"""
    with _piped(code) as runner:
        assert runner.stdout
        pid = int(runner.stdout.readline())
        await eventually(lambda: (tmp_path / "one.log").read_text() == "up\n")
        runner.kill()
        await eventually(lambda: _state(pid) in ("", "Z"))


def test_a_process_whose_parent_is_gone_already_does_not_start() -> None:
    command = [sys.executable, "-I", "-S", str(LEASH), "1", "", str(int(signal.SIGKILL)), "/bin/echo", "started"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_quiet_port_is_free_and_below_those_of_outgoing_connections() -> None:
    port = quiet_port()
    assert is_free(port)
    assert 1024 < port < 32768
