"""The merged log: whole lines, each with the name of its process; only what was written since."""

import os
from pathlib import Path

import pytest

from deploy.cluster.console import Console
from tests.support.poll import eventually


async def test_lines_get_the_name_of_their_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ingest-1.log").write_text("of an earlier run\n")
    with Console(tmp_path) as console:
        console.say("hello")
        with (tmp_path / "ingest-1.log").open("a") as log:
            log.write("one\nhalf")
            log.flush()
            await eventually(lambda: console._rest)
            log.write(" and half\n")
        (tmp_path / "kafka-1.log").write_text("new\n")
    assert sorted(capfd.readouterr().out.splitlines()) == [
        "cluster    | hello",
        "ingest-1   | half and half",
        "ingest-1   | one",
        "kafka-1    | new",
    ]


async def test_a_log_that_was_put_aside_is_read_from_its_new_beginning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "scoring-1.log"
    log.write_text("long and old\n")
    with Console(tmp_path):
        log.replace(tmp_path / "scoring-1.log.1")
        log.write_text("new\n")
    assert capfd.readouterr().out == "scoring-1  | new\n"


def test_colours_are_for_terminals_and_the_same_for_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    console = Console(tmp_path)
    for name in ("scoring-1", "scoring-2"):
        console._print(name, "x")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("\x1b[")
    assert first.partition("m")[0] == second.partition("m")[0]
    monkeypatch.setenv("NO_COLOR", "1")
    Console(tmp_path).say("plain")
    assert capsys.readouterr().out == f"cluster    | plain{os.linesep}"
