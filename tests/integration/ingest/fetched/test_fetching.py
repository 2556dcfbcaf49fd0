"""What deliveries only name is fetched from the vendor's API, whatever that does meanwhile."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.ingest.cipher import cipher_of
from shared.http.outbound import OutboundClient
from tests.integration.ingest.conftest import WORKSPACE, Ingest, signed_headers
from tests.integration.ingest.fetched.support import (
    BODY,
    TOKEN,
    answered,
    deliver,
    fetchers,
    made,
    path,
    rows,
    settled,
    survey,
)
from tests.integration.ingest.vendor import Vendor
from tests.support.poll import eventually


async def test_a_delivery_is_durable_before_its_answer_and_becomes_an_event(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    await deliver(ingest, source, "114096", "114096")
    [row] = await rows(ingest)
    assert (row.workspace, row.source, row.object, row.detail) == (WORKSPACE, "survey", "114096", {"survey": "843721"})
    async with fetchers(ingest, tmp_path) as parts:
        [event] = await eventually(ingest.events)
        shown = repr(parts[0].__dict__)
    assert (event.data.connector, event.data.source, event.data.survey.id) == ("surveymonkey", "survey", "843721")
    assert [rating.metric for rating in event.data.ratings] == ["nps", "ces"]
    assert await rows(ingest) == []
    [call] = vendor.calls
    assert (call.method, call.path, call.query) == ("GET", path("114096"), {"simple": "true"})
    listed = await ingest.client.get("/v1/sources", headers=ingest.key("operator"))
    told = caplog.text + "".join(capsys.readouterr()) + shown + listed.text + repr(await ingest.admin.list(WORKSPACE))
    assert "survey" in told
    assert TOKEN not in told


async def test_an_edit_is_a_revision_and_a_deletion_takes_it_back(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    async with fetchers(ingest, tmp_path):
        for modified in ("2026-03-10T09:14:52+00:00", "2026-03-10T09:20:00+00:00"):
            vendor.objects[path("114096")]["date_modified"] = modified
            await deliver(ingest, source, "114096")
            await settled(ingest)
        deleted = json.dumps({**BODY, "event_type": "response_deleted", "event_datetime": "2026-03-11T00:00:00Z"})
        headers = signed_headers(source, deleted.encode(), {"client_id": "lale-client"}, {})
        await ingest.client.post(source.path, content=deleted, headers=headers)

        async def three() -> bool:
            return len(await ingest.events()) == 3

        await eventually(three)
    events = sorted((event.data for event in await ingest.events()), key=lambda data: data.revision)
    assert len({data.feedback_id for data in events}) == 1
    assert [data.removed for data in events] == [False, False, True]
    assert len({data.revision for data in events}) == 3


async def test_what_is_wanted_again_while_it_is_fetched_is_fetched_once_more(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    vendor.replies = ["hang"]
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path, 2):
        await eventually(lambda: vendor.calls)
        async with ingest.database.unit_of_work() as uow:
            await uow.execute('update wanted set detail = \'{"survey": "0"}\'')
        await deliver(ingest, source, "114096")
        await deliver(ingest, source, "114096")
        vendor.objects[path("114096")]["date_modified"] = "2026-03-10T09:20:00+00:00"
        vendor.release.set()
        await settled(ingest)
    assert vendor.paths() == [path("114096")] * 2, "the newest detail wins"
    assert vendor.most_open == 1


async def test_two_at_once_fetch_each_object_once(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    first, second = await survey(ingest, vendor), await survey(ingest, vendor, "other")
    numbers = [str(number) for number in range(15)]
    answered(vendor, *numbers)
    await deliver(ingest, first, *numbers)
    await deliver(ingest, second, *numbers)
    async with fetchers(ingest, tmp_path, 2):
        await settled(ingest)

        async def all_there() -> bool:
            return len(await ingest.records()) == 30

        await eventually(all_there)
    assert sorted(vendor.paths()) == sorted(path(number) for number in numbers * 2)
    assert len({event.id for event in await ingest.events()}) == 30


async def test_the_pace_is_held_over_all_processes(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    source = await survey(ingest, vendor, requests_per_minute=240)
    numbers = [str(number) for number in range(5)]
    answered(vendor, *numbers)
    await deliver(ingest, source, *numbers)
    async with fetchers(ingest, tmp_path, 2):
        await settled(ingest)
    times = [call.at for call in vendor.calls]
    assert len(times) == 5
    assert times[-1] - times[0] >= 4 * 0.25 - 0.1


async def test_a_crash_between_call_and_record_loses_nothing(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    await deliver(ingest, source, "114096")
    reached = asyncio.Event()

    async def frozen(*_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    client = OutboundClient(allow_private=True)
    crashing = made(ingest, cipher_of(SecretStr(""), tmp_path), client, lease_seconds=0.5)
    with monkeypatch.context() as patched:
        patched.setattr(crashing, "_record", frozen)
        task = asyncio.create_task(crashing.run())
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await client.close()
    [row] = await rows(ingest)
    assert (row.claims, row.attempts) == (1, 0)
    async with fetchers(ingest, tmp_path):
        await settled(ingest)
    assert vendor.paths() == [path("114096")] * 2
    events = await ingest.events()
    assert len(events) == 2
    assert len({event.id for event in events}) == 1


async def test_a_lease_that_was_lost_changes_nothing(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    """Two fetch one object because the first was held up: both publish the same event, and the row goes once."""
    source = await survey(ingest, vendor)
    answered(vendor, "114096")
    vendor.replies = ["hang"]
    await deliver(ingest, source, "114096")
    async with fetchers(ingest, tmp_path, lease_seconds=0.3):
        await settled(ingest)
        vendor.release.set()

        async def twice() -> bool:
            return len(await ingest.records()) == 2

        await eventually(twice)
    assert len({event.id for event in await ingest.events()}) == 1
    assert await rows(ingest) == []
