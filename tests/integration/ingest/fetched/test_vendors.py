"""Other deliveries of ids, and the command line."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr
from typer.testing import CliRunner

from services.ingest import fetching
from services.ingest.cipher import cipher_of
from services.ingest.directory import source_of
from services.ingest.sources import CONNECTORS
from services.ingest.sources.proof import with_proof
from services.ingest.sources.samples import sample, sample_answer
from services.node.commands import sources
from shared.http.outbound import OutboundClient
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.integration.ingest.fetched.support import (
    TOKEN,
    answered,
    deliver,
    fetchers,
    settings_of,
    settled,
    survey,
)
from tests.integration.ingest.vendor import Vendor
from tests.support.poll import eventually


@pytest.mark.parametrize(
    ("connector", "settings", "target", "header"),
    [
        (
            "qualtrics",
            {"fields": {"QID2": {"metric": "ces"}}},
            "/API/v3/surveys/SV_22VlHYNeldrrrkp/responses/R_1l9mcVuXubb4aGm",
            ("x-api-token", "vendor-token"),
        ),
        ("hubspot", {}, "/crm/v3/objects/feedback_submissions/9101", ("authorization", "Bearer vendor-token")),
    ],
)
async def test_other_vendors_of_ids(
    ingest: Ingest, vendor: Vendor, tmp_path: Path, connector: str, settings: dict[str, Any], target: str, header: Any
) -> None:
    vendor.authorization = header
    vendor.objects[target] = sample_answer(connector)
    options = {**settings, "api_url": vendor.url, "requests_per_minute": 6000}
    source = await ingest.admin.add(WORKSPACE, "survey", connector, options, token="vendor-token")
    message = replace(sample(connector), url=f"http://ingest{source.path}")
    signed = with_proof(CONNECTORS[connector].credential(None), message, source.secret)
    answer = await ingest.client.post(source.path, content=message.body, headers=dict(signed.headers))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    async with fetchers(ingest, tmp_path):
        [event] = await eventually(ingest.events)
    assert event.data.ratings[0].metric == "nps"
    assert vendor.paths() == [target]


async def test_a_head_is_answered(ingest: Ingest, vendor: Vendor) -> None:
    source = await survey(ingest, vendor)
    assert (await ingest.client.head(source.path)).status_code == 200
    assert (await ingest.client.get(source.path)).status_code == 401


async def test_the_command_line_takes_a_token_from_standard_input_and_never_shows_it(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    settings = tmp_path / "survey.yaml"
    settings.write_text(json.dumps(settings_of(vendor)))
    environment = {"DATABASE_URL": ingest.url, "DATA_DIR": str(tmp_path)}

    async def command(*arguments: str, given: str) -> str:
        run = partial(CliRunner().invoke, sources.app, [*arguments, "-w", WORKSPACE], input=given, env=environment)
        result = await asyncio.to_thread(run)
        assert result.exit_code == 0, result.output
        return result.output

    said = await command("add", "surveymonkey", "survey", "--settings", str(settings), "--token", given="first-token\n")
    said += await command("token", "survey", given=TOKEN + "\n")
    said += await command("list", given="")
    assert "first-token" not in said
    assert TOKEN not in said
    async with ingest.database.reader() as reader:
        row = await reader.first("select * from source")
    assert row is not None
    assert source_of(row, cipher_of(SecretStr(""), tmp_path)).token == TOKEN


async def test_a_mention_on_instagram_is_fetched(ingest: Ingest, vendor: Vendor, tmp_path: Path) -> None:
    vendor.authorization = ("authorization", "Bearer page-token")
    said = {"id": "17887", "text": "@lale late again", "timestamp": "2026-03-10T09:14:52+0000", "username": "nora"}
    vendor.objects["/17841"] = {"mentioned_comment": said, "id": "17841"}
    options = {"api_url": vendor.url, "requests_per_minute": 6000}
    source = await ingest.admin.add(WORKSPACE, "social", "meta", options, token="page-token")
    change = {"field": "mentions", "value": {"comment_id": "17887", "media_id": "17976"}}
    body = json.dumps({"object": "instagram", "entry": [{"id": "17841", "time": 1773134093, "changes": [change]}]})
    answer = await ingest.deliver(source, body.encode())
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    async with fetchers(ingest, tmp_path):
        [event] = await eventually(ingest.events)
    assert (event.data.channel, event.data.sensitive.text) == ("instagram", "@lale late again")
    [call] = vendor.calls
    assert call.query == {"fields": "mentioned_comment.comment_id(17887){id,text,timestamp,username}"}


async def test_a_refusal_of_the_old_token_does_not_hold_up_the_new_one(
    ingest: Ingest, vendor: Vendor, tmp_path: Path
) -> None:
    source = await survey(ingest, vendor, token="an-old-token")
    answered(vendor, "1")
    vendor.replies = ["hang"]
    await deliver(ingest, source, "1")
    async with fetchers(ingest, tmp_path):
        await eventually(lambda: vendor.calls)
        await ingest.admin.set_token(WORKSPACE, "survey", TOKEN)
        vendor.release.set()  # 401, as it came with the old one
        await settled(ingest)
    assert len(vendor.calls) == 2


async def test_a_delivery_wakes_the_fetcher_of_the_service(
    ingest: Ingest, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_IDLE_SECONDS", 60.0)
    source = await survey(ingest, vendor)
    answered(vendor, "1")
    parts = {part.name: part for part in ingest.service.components}
    own = parts["ingest-fetcher"]
    own._client = OutboundClient(allow_private=True)  # type: ignore[attr-defined]
    running = [own, parts["ingest-outbox"], parts["ingest-wakeups"]]
    tasks = [asyncio.create_task(part.run()) for part in running]
    await eventually(lambda: own._pollers_at > 0)  # type: ignore[attr-defined]
    await deliver(ingest, source, "1")
    [event] = await eventually(ingest.events)
    assert event.data.connector == "surveymonkey"
    for part in running:
        await part.stop()
    await asyncio.gather(*tasks)
