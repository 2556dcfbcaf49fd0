"""Scoring with its HTTP side, and clients of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from services.scoring.app import build
from services.scoring.config import ScoringSettings
from shared.auth.keys import new_key
from shared.bus import codec
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.http.app import Readiness, create_app
from shared.runtime.supervisor import HttpServer, listen
from tests.support.harness import running
from tests.support.poll import eventually


@asynccontextmanager
async def served(url: str) -> AsyncIterator[str]:
    """Scoring as a process runs it; the address of its HTTP side."""
    service = build(ScoringSettings(database_url=url, score_interval_seconds=0.2))
    for start in service.start:
        await start()
    listener = listen("127.0.0.1", 0)
    app = create_app("scoring", "0", service.routers, Readiness(service.checks))
    # Feeds stop before the server, which waits for open streams.
    async with running(*service.components, HttpServer(app, listener), *service.feeds):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for close in reversed(service.close):
        await close()


async def key(url: str, workspace: str, *roles: str) -> dict[str, str]:
    """Headers with a new key."""
    made = new_key()
    platform = Database(url, "platform", encode=codec.encode, pool_size=1)
    await ApiKeys(platform).add(
        key_id=made.id, workspace=workspace, name="test", roles=roles, secret_hash=made.secret_hash
    )
    await platform.stop()
    return {"Authorization": f"Bearer {made.text}"}


def now() -> datetime:
    return datetime.now(UTC)


async def wait_for_n(client: httpx.AsyncClient, n: int, **filters: str) -> dict[str, Any]:
    """The one score that the filters select, as soon as it has n answers."""

    async def found() -> dict[str, Any] | None:
        items = (await client.get("/v1/scores", params={"window": "7d", "by": "all", **filters})).json()["items"]
        return items[0] if len(items) == 1 and items[0]["n"] == n else None

    item = await eventually(found)
    assert item is not None
    return item
