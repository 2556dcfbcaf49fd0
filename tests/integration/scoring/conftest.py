"""Scoring without its HTTP side, and clients of a served one."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.bus import Bus
from shared.bus.connect import topics_of
from shared.db.embedded import EmbeddedPostgres
from tests.integration.scoring.serving import key, served
from tests.integration.scoring.support import Clock, Made, scoring
from tests.support.harness import started_bus
from tests.support.postgres import fresh_database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def made(database_url: str, clock: Clock) -> AsyncIterator[Made]:
    """The service without its HTTP side, for which it is what `clock` says."""
    async with scoring(database_url, clock=clock) as made:
        yield made


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[Bus]:
    async with started_bus(database_url, topics=topics_of("postgres")) as bus:
        yield bus


@pytest.fixture
async def client(database_url: str, bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    headers = await key(database_url, "acme", "manager")
    async with (
        served(database_url) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
async def quiet(postgres: EmbeddedPostgres) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A client with a manager's key, and the database's address, for tests that change nothing."""
    with fresh_database(postgres) as url:
        headers = await key(url, "acme", "manager")
        async with served(url) as address, httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
            yield client, url
