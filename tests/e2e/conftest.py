"""One node for all tests of this folder: a process of its own, as `closeloop up` starts it, on a fresh database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from services.node.first_key import make_key
from shared.auth.keys import Role
from shared.bus import codec
from shared.bus.connect import topics_of
from shared.contracts.envelope import Event
from shared.db.database import Database
from shared.db.embedded import EmbeddedPostgres
from shared.db.platform import ApiKeys
from tests.load.node import NodeProcess
from tests.support.browser import Watched, browser, opened
from tests.support.harness import send, started_bus
from tests.support.postgres import fresh_database

__all__ = ["browser"]
WORKSPACE = "main"
MINIMUM_N = 3
TEAMS = {
    "teams": [{"id": "care", "name": "care", "departments": ["support"], "default": True}],
    "members": [
        {"id": "farah", "name": "فرح نادری", "teams": ["care"], "languages": ["en", "tr", "fa"], "capacity": 500}
    ],
}


@dataclass
class LiveNode:
    """The node, and what tests do with it from outside."""

    process: NodeProcess
    database_url: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    @property
    def key(self) -> str:
        return self.process.key

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with the admin's key, answered 2xx."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.address, headers=headers, trust_env=False, verify=False) as client:
            response = await client.request(method, path, **options)
        assert response.is_success, response.text
        return response

    async def feedback(self, name: str, score: int = 3, **fields: Any) -> None:
        """Post one answer."""
        body = {
            "id": name,
            "channel": "email",
            "touchpoint": "delivery",
            "department": "support",
            "survey": {"id": "s", "type": "transactional"},
            "metric": "nps",
            "score": score,
            **fields,
        }
        await self.call("POST", "/v1/feedback", json=body)

    async def publish(self, *events: Event[Any]) -> None:
        """Put events on the bus past the services, also while the node is down."""
        async with started_bus(self.database_url, topics=topics_of("postgres")) as bus:
            await send(bus, events)

    async def new_key(self, *roles: Role) -> str:
        database = Database(self.database_url, "platform", encode=codec.encode, pool_size=1)
        try:
            return await make_key(ApiKeys(database), WORKSPACE, "test", roles)
        finally:
            await database.stop()


@pytest.fixture(scope="package")
async def node(
    browser: Browser, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveNode]:
    """A running node with a team, for this folder: idle it costs a tenth of a core. `browser` comes first: without one
    nothing is started."""
    folder: Path = tmp_path_factory.mktemp("node")
    with fresh_database(postgres) as url:
        process = NodeProcess(folder, DATABASE_URL=url, SCORE_MINIMUM_N=str(MINIMUM_N), LOG_LEVEL="warning")
        await asyncio.to_thread(process.start)
        try:
            live = LiveNode(process, url)
            await live.call("PUT", "/v1/teams", json=TEAMS)
            yield live
        finally:
            code = await asyncio.to_thread(process.stop)
    assert code == 0, process.output()[-3000:]


@asynccontextmanager
async def board(browser: Browser, node: LiveNode, key: str | None = None, **options: Any) -> AsyncIterator[Watched]:
    """The page, opened by the address that carries the key, live."""
    async with opened(browser, **options) as watched:
        await watched.page.goto(f"{node.address}/#key={key or node.key}")
        await expect(watched.page.locator("#connection-text")).to_have_text("Live", timeout=15_000)
        yield watched
