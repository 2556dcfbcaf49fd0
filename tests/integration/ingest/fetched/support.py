"""A source that fetches, processes that do it, and a look at what waits."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from services.ingest.admin import SourceSecret
from services.ingest.cipher import cipher_of
from services.ingest.fetching import Fetcher
from services.ingest.sources.samples import sample, sample_answer
from shared.http.outbound import OutboundClient
from shared.telemetry.metrics import FETCHES
from tests.integration.ingest.conftest import WORKSPACE, Ingest, signed_headers
from tests.integration.ingest.vendor import Vendor
from tests.support.poll import eventually

TOKEN = "sm-token-0123456789-abcdef"
ANSWER = json.loads(sample_answer("surveymonkey"))
BODY = json.loads(sample("surveymonkey").body)
FIELDS = {"501": {"metric": "nps"}, "502": {"metric": "ces", "scale_min": 1, "scale_max": 7}}


def settings_of(vendor: Vendor, **changed: Any) -> dict[str, Any]:
    return {"client_id": "lale-client", "api_url": vendor.url, "requests_per_minute": 6000, "fields": FIELDS} | changed


async def survey(ingest: Ingest, vendor: Vendor, name: str = "survey", **changed: Any) -> SourceSecret:
    token = changed.pop("token", TOKEN)
    return await ingest.admin.add(WORKSPACE, name, "surveymonkey", settings_of(vendor, **changed), token=token)


def path(number: str) -> str:
    return f"/v3/surveys/843721/responses/{number}/details"


def answered(vendor: Vendor, *numbers: str) -> None:
    for number in numbers:
        vendor.objects[path(number)] = {**ANSWER, "id": number}


async def deliver(ingest: Ingest, source: SourceSecret, *numbers: str) -> None:
    for number in numbers:
        body = json.dumps({**BODY, "object_id": number}).encode()
        headers = signed_headers(source, body, {"client_id": "lale-client"}, {})
        answer = await ingest.client.post(source.path, content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "parked": 0, "skipped": {}})


async def rows(ingest: Ingest) -> list[Any]:
    async with ingest.database.reader() as reader:
        wait = "extract(epoch from due_at - clock_timestamp())::float8 as seconds"
        return list(await reader.all(f"select *, {wait} from wanted order by object"))


async def pause_of(ingest: Ingest, name: str = "survey") -> float:
    async with ingest.database.reader() as reader:
        seconds: float = await reader.scalar(
            "select extract(epoch from fetch_after - clock_timestamp())::float8 from source where name = :name",
            {"name": name},
        )
        return seconds


async def later(ingest: Ingest, interval: str = "0 s") -> None:
    """All waits are over, and what waits has waited for so long."""
    async with ingest.database.unit_of_work() as uow:
        await uow.execute("update source set fetch_after = 'epoch'")
        await uow.execute(
            "update wanted set due_at = clock_timestamp(), first_due_at = first_due_at - cast(:age as text)::interval",
            {"age": interval},
        )


@asynccontextmanager
async def fetchers(
    ingest: Ingest, folder: Path, number: int = 1, *, total_seconds: float = 5.0, **more: Any
) -> AsyncIterator[list[Fetcher]]:
    """So many processes that fetch, for the time of the block."""
    client = OutboundClient(allow_private=True, total_seconds=total_seconds)
    cipher = cipher_of(SecretStr(""), folder)
    parts = [made(ingest, cipher, client, **more) for _ in range(number)]
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield parts
    finally:
        for part in parts:
            await part.stop()
        await asyncio.gather(*tasks)
        await client.close()


def made(ingest: Ingest, cipher: Any, client: OutboundClient, **more: Any) -> Fetcher:
    """A fetcher of another process."""
    own = next(part for part in ingest.service.components if isinstance(part, Fetcher))
    return Fetcher(ingest.database, cipher, client, own._outlet, asyncio.Event(), **more)


async def settled(ingest: Ingest) -> None:
    async def nothing_waits() -> bool:
        return not await rows(ingest)

    await eventually(nothing_waits)


async def attempted(ingest: Ingest, attempts: int = 1) -> Any:
    async def tried() -> Any:
        [row] = await rows(ingest)
        return row if row.attempts == attempts and row.leased_until is None else None

    return await eventually(tried)


def counted(outcome: str) -> float:
    value: float = FETCHES.labels("surveymonkey", outcome)._value.get()
    return value
