"""A database with the runtime's tables, and a bus, for every test of this folder."""

from collections.abc import AsyncIterator

import pytest

from shared.bus import Bus
from shared.db.database import Database
from tests.support.harness import database, started_bus


@pytest.fixture
async def made(database_url: str) -> AsyncIterator[Database]:
    async with database(database_url) as made:
        yield made


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[Bus]:
    async with started_bus(database_url) as bus:
        yield bus
