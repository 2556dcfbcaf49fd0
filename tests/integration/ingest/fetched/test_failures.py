"""What fails is tried again, left alone, dropped or kept; and tokens."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.ingest import fetching
from shared.core.errors import InvalidInput, NotFound
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.integration.ingest.fetched.support import (
    TOKEN,
    answered,
    attempted,
    counted,
    deliver,
    fetchers,
    later,
    path,
    pause_of,
    rows,
    settings_of,
    settled,
    survey,
)
from tests.integration.ingest.vendor import Vendor
from tests.support.poll import eventually


@pytest.mark.parametrize("reply", [500, 502, 400, 302, "drop", "hang", "cut", b"HTTP"])
async def test_what_fails_is_tried_again_later_and_later(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, reply: Any
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    await deliver(ingest, source, "114096")
    if reply == b"HTTP":
        vendor.objects.clear()
        vendor.objects[path("114096")] = 504
    else:
        vendor.replies = [reply] * 3
    async with fetchers(ingest, tmp_path, total_seconds=0.5):
        for attempt, least in enumerate((4, 8, 16), start=1):
            row = await attempted(ingest, attempt)
            assert least - 1 <= row.seconds <= 1.5 * least
            if attempt < 3:
                await later(ingest)
        answered(vendor, "114096")
        vendor.release.set()
        await later(ingest)
        await eventually(ingest.events)
    assert await rows(ingest) == []
    assert await ingest.letters() == []


def test_waits_double_to_an_hour() -> None:
    waits = [fetching.retry_seconds(attempts) for attempts in (0, 1, 2, 9, 10, 40, 10_000)]
    most = (5, 10, 20, 2560, 3600, 3600, 3600)
    assert all(0.8 * one <= wait <= 1.2 * one for wait, one in zip(waits, most, strict=True))
    assert len({fetching.retry_seconds(3) for _ in range(20)}) > 1


async def test_nobody_there_is_a_failure_too(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source = await survey(ingest, vendor, api_url="http://127.0.0.1:9")
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path):
        row = await attempted(ingest)
    assert 3 <= row.seconds <= 6.5
    assert vendor.calls == []


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ((429, {"retry-after": "30"}), 30),
        ((503, {"retry-after": "90"}), 90),
        (429, 5),
        ((429, {"retry-after": "9999999"}), 3600),
    ],
)
async def test_a_vendor_that_is_busy_is_left_alone_with_everything(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, reply: Any, seconds: float
) -> None:
    busy, other = await survey(ingest, vendor), await survey(ingest, vendor, "other")
    answered(vendor, "1", "2", "3")
    vendor.replies = [reply]
    async with fetchers(ingest, tmp_path):
        await deliver(ingest, busy, "1")
        await attempted(ingest)
        await deliver(ingest, busy, "2")
        await deliver(ingest, other, "3")
        await eventually(lambda: path("3") in vendor.paths())
        assert vendor.paths() == [path("1"), path("3")]
        assert seconds - 5 <= await pause_of(ingest) <= seconds
        await later(ingest)
        await settled(ingest)
    assert sorted(vendor.paths()) == [path("1"), path("1"), path("2"), path("3")]


async def test_a_refusal_is_told_once_and_a_new_token_ends_it_at_once(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = await survey(ingest, vendor, token="an-old-token")
    answered(vendor, "1", "2")
    await deliver(ingest, source, "1", "2")
    refused = counted("refused")
    async with fetchers(ingest, tmp_path):
        await eventually(lambda: counted("refused") > refused)
        assert 3590 <= await pause_of(ingest) <= 3600

        async def again_and_again() -> bool:
            await later(ingest)
            return counted("refused") >= refused + 4

        await eventually(again_and_again)
        assert await ingest.events() == []
        await ingest.admin.set_token(WORKSPACE, "survey", f" {TOKEN}\n")
        await settled(ingest)

        async def both() -> bool:
            return len(await ingest.records()) == 2

        await eventually(both)
    told = caplog.text + "".join(capsys.readouterr())
    assert told.count("fetch_refused") == 1
    assert "closeloop sources token survey" in told
    assert TOKEN not in told
    assert "an-old-token" not in told


async def test_without_a_token_nothing_is_asked(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source = await survey(ingest, vendor, token=None)
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await attempted(ingest)
    assert vendor.calls == []
    assert await pause_of(ingest) > 3590


async def test_the_wall_stands_before_the_address(ingest: Ingest, vendor: Vendor) -> None:
    """The service's own fetcher may not call this machine: nobody has allowed it."""
    source = await survey(ingest, vendor)
    await deliver(ingest, source, "1")
    own = next(part for part in ingest.service.components if part.name == "ingest-fetcher")
    task = asyncio.create_task(own.run())
    await attempted(ingest)
    await own.stop()
    await task
    assert vendor.calls == []


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_is_dropped_and_counted(ingest: Ingest, vendor: Vendor, tmp_path: Path, status: int) -> None:
    source = await survey(ingest, vendor)
    vendor.objects[path("1")] = status
    gone = counted("gone")
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    assert counted("gone") == gone + 1
    assert (await ingest.letters(), await ingest.events()) == ([], [])


async def test_after_two_days_it_is_a_dead_letter_that_can_be_replayed(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, running_replays: Callable[[], Awaitable[None]]
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "1")
    vendor.replies = [500, 500]
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await attempted(ingest)
        await later(ingest, "47 hours")
        await attempted(ingest, 2)
        vendor.replies = [500]
        await later(ingest, "2 hours")
        await settled(ingest)
    [letter] = await ingest.letters()
    assert (letter.origin, letter.workspace, letter.attempts) == ("sources/surveymonkey", WORKSPACE, 3)
    assert json.loads(bytes(letter.value)) == {"object": "1", "detail": {"survey": "843721"}}
    assert "500" in letter.error
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    await running_replays()
    assert (await ingest.letters())[0].state == "replayed"
    [row] = await rows(ingest)
    assert (row.object, row.detail, row.attempts) == ("1", {"survey": "843721"}, 0)


@pytest.mark.parametrize(
    "garbage",
    [b"<html>", b"[]", b'{"response_status": "completed"}', b"[" * 100_000, b"x" * 2**21],
    ids=["html", "list", "other", "deep", "large"],
)
async def test_an_answer_that_is_not_understood_is_kept(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, garbage: bytes
) -> None:
    source = await survey(ingest, vendor)
    vendor.replies = [garbage]
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    [letter] = await ingest.letters()
    assert (letter.origin, bytes(letter.value)) == ("sources/surveymonkey", garbage[: fetching.ANSWER_LIMIT_BYTES])
    assert TOKEN not in json.dumps(letter.headers)
    assert len(vendor.calls) == 1


async def test_a_scale_set_later_mends_what_was_fetched(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, running_replays: Callable[[], Awaitable[None]]
) -> None:
    source = await survey(ingest, vendor, fields={})
    answered(vendor, "114096")
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    [letter] = await ingest.letters()
    assert "without a scale" in letter.error
    await ingest.admin.configure(WORKSPACE, "survey", settings_of(vendor))
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update dead_letter set state = 'replay'")
    await running_replays()
    assert (await ingest.letters())[0].state == "replayed"
    [event] = await ingest.events()
    assert event.data.ratings[0].metric == "nps"
    assert len(vendor.calls) == 1


async def test_a_source_that_is_off_is_not_fetched_from(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source, other = await survey(ingest, vendor), await survey(ingest, vendor, "other")
    answered(vendor, "1", "2")
    await deliver(ingest, source, "1")
    await ingest.admin.disable(WORKSPACE, "survey")
    async with fetchers(ingest, tmp_path):
        await deliver(ingest, other, "2")
        await eventually(ingest.events)
        assert vendor.paths() == [path("2")]
        await ingest.admin.enable(WORKSPACE, "survey")
        await settled(ingest)
    assert vendor.paths() == [path("2"), path("1")]


async def test_tokens_are_checked_and_sealed(ingest: Ingest, vendor: Vendor) -> None:
    await survey(ingest, vendor)
    async with ingest.database.reader() as reader:
        stored = await reader.scalar("select token from source")
    assert TOKEN.encode() not in bytes(stored)
    for bad in ("", "  ", "two words", "line\nbreak", "ünïcode", "x" * 20_000):
        with pytest.raises(InvalidInput) as refused:
            await ingest.admin.set_token(WORKSPACE, "survey", bad)
        assert not bad.strip() or bad not in str(refused.value.faults)
    with pytest.raises(NotFound):
        await ingest.admin.set_token(WORKSPACE, "nobody", TOKEN)
    with pytest.raises(InvalidInput):
        await ingest.admin.add(WORKSPACE, "chat", "slack", {}, token=TOKEN)
