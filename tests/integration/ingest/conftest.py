"""`ingest`: the service on a real database and the Postgres bus, with a client, keys and a view of the bus."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from services.ingest.admin import SourceAdmin, SourceSecret
from services.ingest.app import build
from services.ingest.cipher import cipher_of
from services.ingest.config import IngestSettings
from services.ingest.sources import CONNECTORS
from services.ingest.sources.base import configured
from services.ingest.sources.proof import with_proof
from shared.auth import Role, Signed, new_key
from shared.bus import codec
from shared.bus.connect import connect
from shared.bus.port import Bus, BusUnavailable, Record, TopicPartition
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.database import Database
from shared.db.embedded import EmbeddedPostgres
from shared.db.platform import ApiKeys
from shared.http.app import Readiness, create_app
from shared.runtime.component import Service, fronted
from tests.support.poll import eventually
from tests.support.postgres import fresh_database

WORKSPACE = "lale"


@dataclass
class Ingest:
    """What tests hold in their hands."""

    url: str
    service: Service
    app: FastAPI
    door: ASGIApp
    client: httpx.AsyncClient
    database: Database
    admin: SourceAdmin
    bus: Bus
    keys: dict[str, str]

    def key(self, role: str) -> dict[str, str]:
        """Headers of a key with this role."""
        return {"authorization": f"Bearer {self.keys[role]}"}

    async def post(self, body: Any, role: str = "channel", **headers: str) -> httpx.Response:
        """POST /v1/feedback; bytes as they are, anything else as JSON."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.client.post("/v1/feedback", headers={**self.key(role), **headers}, **content)

    async def records(self, topic: str = FEEDBACK_RECEIVED.name) -> list[Record]:
        """Everything on the topic."""
        found: list[Record] = []
        for partition, (first, end) in (await self.bus.offsets(topic)).items():
            offset = first
            while offset < end:
                some = await self.bus.read(TopicPartition(topic, partition), offset, 5_000)
                found += some
                offset = some[-1].offset + 1
        return found

    async def count(self) -> int:
        """How many records are on the topic."""
        return sum(end for _, end in (await self.bus.offsets(FEEDBACK_RECEIVED.name)).values())

    async def events(self, topic: str = FEEDBACK_RECEIVED.name) -> list[Event[Any]]:
        """Everything on the topic, decoded, in the order of its times."""
        return sorted((codec.decode(record) for record in await self.records(topic)), key=lambda event: event.time)

    async def letters(self) -> list[Any]:
        """Dead letters, oldest first."""
        async with self.database.reader() as reader:
            return list(await reader.all("select * from dead_letter order by parked_at"))

    async def add(self, name: str, connector: str, settings: dict[str, Any] | None = None) -> SourceSecret:
        """A source that takes deliveries."""
        return await self.admin.add(WORKSPACE, name, connector, settings or {})

    async def deliver(
        self, source: SourceSecret, body: bytes, settings: dict[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        """A delivery with the right signature."""
        signed = signed_headers(source, body, settings or {}, headers)
        return await self.client.post(source.path, content=body, headers=signed)


def signed_headers(
    source: SourceSecret, body: bytes, settings: dict[str, Any], headers: dict[str, str]
) -> dict[str, str]:
    """`headers` and the right signature."""
    connector = CONNECTORS[source.connector]
    credential = connector.credential(configured(connector, settings))
    lower = {name.lower(): value for name, value in headers.items()}
    return dict(with_proof(credential, Signed(body, lower), source.secret).headers)


@asynccontextmanager
async def running_ingest(url: str, folder: Path, bus_url: str = "postgres") -> AsyncIterator[Ingest]:
    """The service, started, without its background components. The bus need not be in reach."""
    settings = IngestSettings(database_url=url, data_dir=folder, bus_url=bus_url)
    service = build(settings)
    for start in service.start:
        await start()
    app = create_app("ingest", "1", service.routers, Readiness(service.checks))
    database = Database(url, "ingest", encode=codec.encode, pool_size=2)
    platform = Database(url, "platform", encode=codec.encode, pool_size=1)
    bus = connect(bus_url, url)
    with suppress(BusUnavailable):
        await bus.start()
    keys = {}
    for role in Role:
        key = new_key()
        keys[role.value] = key.text
        await ApiKeys(platform).add(
            key_id=key.id, workspace=WORKSPACE, name=role.value, roles=[role.value], secret_hash=key.secret_hash
        )
    admin = SourceAdmin(database, cipher_of(settings.secrets_key, settings.data_dir))
    door = fronted(app, [service])
    transport = httpx.ASGITransport(app=door, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            yield Ingest(url, service, app, door, client, database, admin, bus, keys)
    finally:
        for close in reversed(service.close):
            await close()
        await bus.stop()
        await platform.stop()
        await database.stop()


@pytest.fixture
async def ingest(database_url: str, tmp_path: Path) -> AsyncIterator[Ingest]:
    """Ingest on a fresh database."""
    async with running_ingest(database_url, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
async def shared_ingest(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    """Ingest on one database for the tests of a module that do not mind each other."""
    with fresh_database(postgres) as url:
        async with running_ingest(url, tmp_path_factory.mktemp("ingest")) as running:
            yield running


@pytest.fixture
def running_replays(ingest: Ingest) -> Callable[[], Awaitable[None]]:
    """Runs the components that replay dead letters and ship the outbox, until both have nothing to do."""

    async def run() -> None:
        parts = [part for part in ingest.service.components if "replays" in part.name or "outbox" in part.name]
        assert len(parts) == 2
        tasks = [asyncio.create_task(part.run()) for part in parts]

        async def idle() -> bool:
            async with ingest.database.reader() as reader:
                waiting = await reader.scalar("select count(*) from dead_letter where state = 'replay'")
                return waiting + await reader.scalar("select count(*) from outbox") == 0

        await eventually(idle)
        for part in parts:
            await part.stop()
        await asyncio.gather(*tasks)

    return run
