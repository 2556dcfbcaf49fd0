"""`closeloop topics` on the single node's bus: what it says, and with which exit code."""

import asyncio

import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.cli import app
from shared.contracts.topics import TOPICS
from shared.telemetry.logging import configure_logging


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "BUS_URL": "postgres"}


async def _run(environment: dict[str, str], *words: str) -> Result:
    # in a thread, because a command brings its own event loop
    result = await asyncio.to_thread(CliRunner().invoke, app, ["topics", *words], env=environment)
    configure_logging("warning", "json")  # the command's went to an output that is gone
    return result


async def test_plan_then_apply_then_nothing_is_left(environment: dict[str, str]) -> None:
    planned = await _run(environment, "plan")
    assert planned.exit_code == 2
    assert f"{len(TOPICS)} to create" in planned.stdout
    unasked = await _run(environment, "apply")
    assert unasked.exit_code == 1
    assert "add --yes" in unasked.stderr
    applied = await _run(environment, "apply", "--yes")
    assert (applied.exit_code, applied.stdout.splitlines()[-1]) == (0, "done")
    again = await _run(environment, "plan")
    assert (again.exit_code, again.stdout.splitlines()[-1]) == (0, f"{len(TOPICS)} unchanged")
    assert (await _run(environment, "apply")).exit_code == 0, "nobody is asked when nothing is to do"


async def test_what_cannot_be_done_is_told_in_one_line(environment: dict[str, str]) -> None:
    away = await _run({**environment, "BUS_URL": "kafka://127.0.0.1:1"}, "plan")
    assert away.exit_code == 1
    assert "Kafka at 127.0.0.1:1 is out of reach" in away.stderr
    wrong = await _run({**environment, "BUS_URL": "kafka://nowhere"}, "plan")
    assert wrong.exit_code == 1
    assert "host:port" in wrong.stderr


async def test_every_service_may_write_its_own_topics_and_no_other() -> None:
    shown = (await _run({}, "acls", "--principal", "User:closeloop-{service}")).stdout
    for topic in TOPICS:
        writers = [line for line in shown.splitlines() if "Write" in line and f"--topic {topic.name}" in line]
        assert len(writers) == 1, topic.name
        assert f"--allow-principal User:closeloop-{topic.owner} " in writers[0]
    assert "--group feed-score.updated.v1- --resource-pattern-type prefixed" in shown
