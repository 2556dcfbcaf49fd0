"""The freeze points: they happen once, at their place, at their passage; unset they do nothing; nonsense is refused."""

import os
import signal
import subprocess
import sys

import pytest

from shared.core.settings import SettingsError
from shared.runtime.faults import Fault

REACH = (
    "from shared.runtime import faults\n"
    "for passage in range(1, 5):\n"
    "    faults.reached('after_send', 'delivery')\n"
    "    faults.reached('after_send', 'outbox')\n"
    "    print(passage, flush=True)\n"
)


def run(setting: str) -> tuple[int, list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "FAULT"} | (
        {"FAULT": setting} if setting else {}
    )
    done = subprocess.run([sys.executable, "-c", REACH], capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout.split()


def test_unset_it_does_nothing() -> None:
    assert run("") == (0, ["1", "2", "3", "4"])


def test_it_kills_at_the_named_passage_of_the_named_part() -> None:
    assert run("outbox.after_send:kill:3") == (-signal.SIGKILL, ["1", "2"])


def test_without_a_part_every_part_counts() -> None:
    assert run("after_send:kill:3") == (-signal.SIGKILL, ["1"])


def test_elsewhere_it_does_nothing() -> None:
    assert run("before_mark:kill") == (0, ["1", "2", "3", "4"])


def test_a_stopped_process_goes_on_after_sigcont_and_is_not_stopped_again() -> None:
    environment = os.environ | {"FAULT": "outbox.after_send:stop:2"}
    process = subprocess.Popen([sys.executable, "-c", REACH], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=20)[0].split() == ["1", "2", "3", "4"]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "nonsense",
    ["after_lunch:kill", "after_send", "after_send:sleep", "after_send:stop:0", "kitchen.after_send:stop", "a:stop:x"],
)
def test_nonsense_is_refused(nonsense: str) -> None:
    with pytest.raises(SettingsError, match="for tests only"):
        Fault(nonsense)
