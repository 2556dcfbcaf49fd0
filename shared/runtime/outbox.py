"""The outbox relay: ships committed events to the bus in order, deletes them after the ack.

A crash between ack and delete sends again; consumers drop the repeat by event id. One relay per service holds the
lease: two at once would be safe for effects, but could turn the order of a customer's events around.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from shared.bus.port import Message, Producer
from shared.db.database import Database
from shared.db.unit_of_work import load_headers
from shared.db.wakeup import wait
from shared.runtime.component import owner_name
from shared.runtime.lease import LEASE_SECONDS, Lease
from shared.runtime.patience import through_outage
from shared.telemetry import metrics

# 1,000 rows read, sent and deleted together; larger batches won nothing in the bench.
_BATCH = 1000
_READ = "select id, topic, key, value, headers from outbox order by id limit :limit"
_DELETE = "delete from outbox where id = any(cast(:ids as bigint[]))"


class OutboxRelay:
    """A component of every service that publishes."""

    def __init__(self, database: Database, producer: Producer, wakeup: asyncio.Event) -> None:
        self.name = f"{database.schema}-outbox"
        self._database = database
        self._producer = producer
        self._wakeup = wakeup
        self._lease = Lease(database, "outbox", owner_name())
        self._renew_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Relay until `stop`, then ship what is already committed."""
        while not self._stopping.is_set():
            if not await through_outage(self._hold, stopping=self._stopping):
                await wait(self._wakeup, timeout_seconds=LEASE_SECONDS / 3)
            elif not await through_outage(self._ship, stopping=self._stopping):
                await wait(self._wakeup, timeout_seconds=1.0)
        if await self._hold():
            while await self._ship():
                pass
            await self._lease.release()

    async def stop(self) -> None:
        """Ship the rest and end."""
        self._stopping.set()
        self._wakeup.set()

    async def _hold(self) -> bool:
        if time.monotonic() < self._renew_at:
            return True
        held = await self._lease.take() is not None
        # Renewed at a third, and a send may take 15 s at most: ours is over before anybody else begins or is renewed.
        self._renew_at = time.monotonic() + LEASE_SECONDS / 3 if held else 0.0
        return held

    async def _ship(self) -> bool:
        async with self._database.reader() as reader:
            rows = await reader.all(_READ, {"limit": _BATCH})
        metrics.OUTBOX.labels(self._database.schema).set(len(rows))
        if not rows:
            return False
        await self._producer.send(_messages(rows))
        async with self._database.unit_of_work() as uow:
            await uow.execute(_DELETE, {"ids": [row.id for row in rows]})
        for row in rows:
            metrics.PUBLISHED.labels(row.topic).inc()
        return len(rows) == _BATCH


def _messages(rows: Sequence[Any]) -> list[Message]:
    return [Message(row.topic, row.key, row.value, load_headers(row.headers)) for row in rows]
