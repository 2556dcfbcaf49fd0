"""A frozen or dead database: whoever asks gets a 503 within two seconds, and all goes on when it is back (P11)."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest

from shared.core.errors import Unavailable
from shared.db.database import Database
from shared.db.embedded import EmbeddedPostgres
from shared.db.wakeup import Wakeups
from shared.http.app import Readiness, create_app
from shared.telemetry.metrics import DATABASE_REACHABLE
from tests.support.harness import SCHEMA, database, running
from tests.support.poll import eventually
from tests.support.postgres import running_server


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with running_server() as server:
        server.execute("create role closeloop_api nologin")
        yield server


@pytest.fixture
async def made(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    server.execute(f"drop schema if exists {SCHEMA} cascade")
    async with database(server.url("postgres")) as made:
        yield made


class Frozen:
    """Every process of the server stopped for the length of the block, as a machine that hangs."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        listed = ["ps", "-o", "pid=", "--ppid", str(server.pid)]
        children = subprocess.run(listed, capture_output=True, text=True, check=True)
        self._pids = [server.pid, *map(int, children.stdout.split())]

    def __enter__(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


async def seconds_to_unavailable(ask: Callable[[], Awaitable[object]]) -> float:
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await ask()
    return asyncio.get_running_loop().time() - began


async def test_a_frozen_database_is_unavailable_within_two_seconds(made: Database, server: EmbeddedPostgres) -> None:
    async def read() -> None:
        async with made.reader("acme") as reader:
            await reader.scalar("select 1")

    async def write() -> None:
        async with made.unit_of_work("acme") as uow:
            await uow.execute("select 1")

    await asyncio.gather(*(read() for _ in range(4)))  # connections in the pool: those hang, new ones time out
    with Frozen(server):
        waits = [await seconds_to_unavailable(ask) for ask in (read, write, made.check)]
    assert max(waits) < 2, waits
    await eventually(lambda: _reads(made))


async def test_requests_get_a_problem_with_retry_after(made: Database, server: EmbeddedPostgres) -> None:
    readiness = Readiness({"database": made.check})
    app = create_app("test", "1", [], readiness)

    @app.get("/rows")
    async def rows() -> int:
        async with made.reader("acme") as reader:
            return int(await reader.scalar("select 42"))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/rows")).json() == 42
        with Frozen(server):
            began = asyncio.get_running_loop().time()
            refused, unready, alive = await asyncio.gather(
                client.get("/rows"), client.get("/readyz"), client.get("/healthz")
            )
            waited = asyncio.get_running_loop().time() - began
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) > 0
        assert (unready.status_code, alive.status_code) == (503, 200)
        assert waited < 2.2
        await eventually(lambda: _ready(client))


async def test_a_restart_of_the_database_is_over_when_it_is_over(made: Database, server: EmbeddedPostgres) -> None:
    wakeups = Wakeups(server.url("postgres"), SCHEMA)
    heard = wakeups.on("outbox")
    async with running(wakeups):
        await eventually(heard.is_set)
        heard.clear()
        reachable = DATABASE_REACHABLE.labels(SCHEMA)._value
        assert reachable.get() == 1
        await asyncio.to_thread(server.stop)
        assert await seconds_to_unavailable(made.check) < 2
        assert await seconds_to_unavailable(made.check) < 2
        await eventually(lambda: reachable.get() == 0)
        await asyncio.to_thread(server.start)
        await eventually(lambda: _reads(made))
        await eventually(lambda: reachable.get() == 1)
        await eventually(heard.is_set)  # it listens again, and what came meanwhile is looked for


async def _reads(made: Database) -> bool:
    async with made.reader("acme") as reader:
        return await reader.scalar("select 1") == 1


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200
