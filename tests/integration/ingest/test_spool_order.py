"""The spool's order where the database is too busy to take more: nothing overtakes what waits in it."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from services.ingest import outlet
from services.ingest.outlet import BusOutlet, SpoolingOutlet
from shared.bus import codec
from shared.bus.port import BusUnavailable, Message
from shared.core.errors import Unavailable
from shared.db.database import Database
from tests.support.harness import feedback


class Way(BusOutlet):
    """A bus that can be out of reach, and keeps what it took."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[UUID] = []

    async def send(self, messages: Sequence[Message], workspace: str) -> None:
        if self.away:
            raise BusUnavailable("away")
        self.taken += [codec.decode(message).id for message in messages]


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that failed is tried again at once."""
    monkeypatch.setattr(outlet, "REST_SECONDS", 0.0)


def event(n: int) -> Any:
    return feedback(n, customer="mina")


async def test_what_waits_in_the_spool_is_not_overtaken_when_the_database_is_too_busy(database_url: str) -> None:
    bus, database = Way(), Database(database_url, "ingest", encode=codec.encode, pool_size=1)
    spool = SpoolingOutlet(bus, database, asyncio.Event())
    try:
        bus.away = True
        await spool.send([codec.encode(event(1))], "acme")
        bus.away = False
        async with database.reader():  # its only connection
            with pytest.raises(Unavailable):
                await spool.send([codec.encode(event(2))], "acme")
        assert bus.taken == [], "the second went past the first, which waits in the spool"
        await spool.send([codec.encode(event(2))], "acme")
        assert bus.taken == []
    finally:
        await database.stop()


async def test_with_nothing_in_the_spool_the_bus_takes_it_while_the_database_is_away(database_url: str) -> None:
    bus, database = Way(), Database(database_url, "ingest", encode=codec.encode, pool_size=1)
    spool = SpoolingOutlet(bus, database, asyncio.Event())
    try:
        async with database.reader():
            bus.away = True
            with pytest.raises(Unavailable):
                await spool.send([codec.encode(event(1))], "acme")
            bus.away = False
            await spool.send([codec.encode(event(2))], "acme")
        assert bus.taken == [event(2).id]
    finally:
        await database.stop()
