"""The outbox relay: ships committed events to the bus in order, deletes them after the ack.

A crash between ack and delete sends again; consumers drop the repeat by event id. One relay per service holds the
lease, so that the work is done once. Two at once, for the length of a send that outlasts the lease, do no harm: each
sends from the oldest row on, so that the first copies of a customer's events keep their order.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from shared.bus.port import Message, Producer
from shared.db.database import Database
from shared.db.unit_of_work import load_headers
from shared.db.wakeup import wait
from shared.runtime import faults
from shared.runtime.component import owner_name
from shared.runtime.lease import LEASE_SECONDS, Lease
from shared.runtime.patience import pause, through_outage
from shared.telemetry import metrics
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
# 1,000 rows read, sent and deleted together; larger batches won nothing in the bench.
_BATCH = 1000
_COUNT_SECONDS = 5.0
# Small batches start at most this often: a lone event goes at once, those of a trickle share a send and a delete.
_PACE_SECONDS = 0.02
# At stop what is committed is still shipped, but not waited for: it is safe in its table.
_DRAIN_SECONDS = 5.0
_READ = "select id, topic, key, value, headers from outbox order by id limit :limit"
_COUNT = "select count(*) from outbox"
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
        self._count_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Relay until `stop`, then ship what is already committed."""
        while not self._stopping.is_set():
            began = time.monotonic()
            if not await through_outage(self._turn, stopping=self._stopping):
                await pause(began + _PACE_SECONDS - time.monotonic(), self._stopping)
                await wait(self._wakeup, timeout_seconds=1.0)
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await self._turn():
                    pass
                await self._lease.release()
        except TimeoutError:
            log.warning("outbox_left_for_later", service=self._database.schema)

    async def stop(self) -> None:
        """Ship the rest and end."""
        self._stopping.set()
        self._wakeup.set()

    async def _turn(self) -> bool:
        """Ship a batch if the lease is ours, or can be had; True when there is more."""
        if await self._hold():
            return await self._ship()
        await pause(LEASE_SECONDS / 10, self._stopping)  # not by wake-up: each would be a try at the lease
        return False

    async def _hold(self) -> bool:
        if time.monotonic() < self._renew_at:
            return True
        held = await self._lease.take() is not None
        self._renew_at = time.monotonic() + LEASE_SECONDS / 3 if held else 0.0
        if not held:
            metrics.OUTBOX.labels(self._database.schema).set(0)  # whoever has the lease counts
        return held

    async def _ship(self) -> bool:
        async with self._database.glance() as reader:
            rows = await reader.all(_READ, {"limit": _BATCH})
            if len(rows) == _BATCH and time.monotonic() > self._count_at:
                metrics.OUTBOX.labels(self._database.schema).set(await reader.scalar(_COUNT))
                self._count_at = time.monotonic() + _COUNT_SECONDS
        if len(rows) < _BATCH:
            metrics.OUTBOX.labels(self._database.schema).set(len(rows))
        if not rows:
            return False
        await self._producer.send(_messages(rows))
        faults.reached("after_send", "outbox")
        async with self._database.unit_of_work() as uow:
            await uow.execute(_DELETE, {"ids": [row.id for row in rows]})
            faults.reached("before_mark", "outbox")
        for row in rows:
            metrics.PUBLISHED.labels(row.topic).inc()
        metrics.OUTBOX.labels(self._database.schema).dec(len(rows))
        return len(rows) == _BATCH


def _messages(rows: Sequence[Any]) -> list[Message]:
    return [Message(row.topic, row.key, row.value, load_headers(row.headers)) for row in rows]
