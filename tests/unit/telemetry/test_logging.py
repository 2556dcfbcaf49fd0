"""Logs: one JSON object a line, and never the text of an error."""

import asyncio
import gc
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from shared.telemetry.logging import configure_logging, get_logger

SECRET = "mina@example.org"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to stderr, as JSON of level debug."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("debug", "json")
    yield stream
    monkeypatch.undo()
    configure_logging("warning", "json")


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"cannot find {SECRET}") from error


def test_one_line_a_record_with_named_fields(lines: io.StringIO) -> None:
    get_logger("a.module").info("batch_done", group="scoring", count=3, text="two\nlines, ünïcode")
    (record,) = records(lines)
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "batch_done",
        "group": "scoring",
        "count": 3,
        "text": "two\nlines, ünïcode",
        "level": "info",
        "logger": "a.module",
    }


def test_an_error_shows_its_place_and_class_and_never_its_text(lines: io.StringIO) -> None:
    try:
        fail()
    except ValueError as error:
        get_logger("a").error("failed", exc_info=error)
        get_logger("a").exception("failed")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
        logging.getLogger("foreign").exception("failed")
    assert SECRET not in lines.getvalue()
    assert "Traceback" not in lines.getvalue()
    assert len(records(lines)) == 4
    for record in records(lines):
        assert [part.split(" ")[0] for part in record["failure"]] == ["ValueError", "KeyError"]
        assert "fail (test_logging.py:" in record["failure"][0]


async def test_an_error_that_nobody_waited_for_keeps_its_text(lines: io.StringIO) -> None:
    async def lose() -> None:
        raise ValueError(SECRET)

    task = asyncio.create_task(lose())
    await asyncio.wait([task])
    del task
    gc.collect()
    (record,) = (one for one in records(lines) if one["event"] == "Task exception was never retrieved")
    assert record["failure"][0].startswith("ValueError in lose")
    assert SECRET not in lines.getvalue()


def test_foreign_records_have_the_same_form(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("slow: %s s", 3)
    (record,) = records(lines)
    assert (record["event"], record["level"], record["logger"]) == ("slow: 3 s", "warning", "library")


@pytest.mark.parametrize("noisy", ["aiokafka", "uvicorn.access", "alembic", "mail.log"])
def test_their_every_step_is_no_line_of_ours(lines: io.StringIO, noisy: str) -> None:
    logging.getLogger(noisy).info("again")
    assert lines.getvalue() == ""


def test_what_cannot_be_written_as_json_is_still_one_line(lines: io.StringIO) -> None:
    get_logger("a").warning("odd", value=object(), text="\ud800")
    assert len(lines.getvalue().splitlines()) == 1


def test_the_level_is_kept(monkeypatch: pytest.MonkeyPatch, lines: io.StringIO) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    configure_logging("error", "json")
    get_logger("fresh").warning("unheard")
    assert lines.getvalue() == ""


def test_a_terminal_gets_readable_lines(monkeypatch: pytest.MonkeyPatch, lines: io.StringIO) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    configure_logging("info", "console")
    get_logger("b").info("batch_done", count=3)
    text = lines.getvalue()
    assert "batch_done" in text
    assert "count=3" in text
    assert not text.startswith("{")
