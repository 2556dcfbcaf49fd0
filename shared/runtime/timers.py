"""Durable timers: rows with a due time by the database clock. Each fires once, with its effects, in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.core.errors import Unavailable
from shared.db.database import Database, is_outage
from shared.db.unit_of_work import UnitOfWork
from shared.db.wakeup import wait
from shared.runtime import dead_letters
from shared.runtime.patience import through_outage
from shared.telemetry import metrics
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
_BATCH = 100
_TAKE = """
with due as (
    select kind, key from timer
    where due_at <= clock_timestamp() and kind = :kind
    order by due_at limit :limit for update skip locked
)
delete from timer using due where timer.kind = due.kind and timer.key = due.key
returning timer.kind, timer.key, timer.workspace, timer.due_at, timer.payload,
          extract(epoch from clock_timestamp() - timer.due_at)::float8 as late_seconds"""
_NEXT = """
select extract(epoch from min(due_at) - clock_timestamp())::float8 from timer
where kind = any(cast(:kinds as text[]))"""


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that is due. It is gone from the table; `schedule` it again to go on."""

    kind: str
    key: str
    workspace: str
    due_at: datetime
    payload: Mapping[str, Any]


TimerHandler = Callable[[Sequence[Timer], UnitOfWork], Awaitable[None]]


class TimerLoop:
    """Fires the timers of a service. A component; any number of processes may run it."""

    def __init__(self, database: Database, wakeup: asyncio.Event, handlers: Mapping[str, TimerHandler]) -> None:
        self.name = f"{database.schema}-timers"
        self._database = database
        self._wakeup = wakeup
        self._handlers = dict(handlers)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Fire until `stop`."""
        while not self._stopping.is_set():
            fired = False
            for kind in self._handlers:
                fired |= await through_outage(lambda kind=kind: self._fire(kind, _BATCH), stopping=self._stopping)  # type: ignore[misc]
            if not fired:
                await wait(self._wakeup, await through_outage(self._idle_seconds, stopping=self._stopping))

    async def stop(self) -> None:
        """Finish the batch in work."""
        self._stopping.set()
        self._wakeup.set()

    async def _idle_seconds(self) -> float:
        async with self._database.reader() as reader:
            seconds = await reader.scalar(_NEXT, {"kinds": list(self._handlers)})
        return 1.0 if seconds is None else min(1.0, max(0.0, seconds))

    async def _fire(self, kind: str, limit: int) -> bool:
        try:
            async with self._database.unit_of_work() as uow:
                timers, late = await self._take(uow, kind, limit)
                if not timers:
                    return False
                await self._handlers[kind](timers, uow)
        except Exception as error:
            if is_outage(error) or isinstance(error, Unavailable):
                raise
            if limit > 1:
                while await self._fire(kind, 1):
                    pass
                return True
            await self._park(kind, error)
            return True
        for seconds in late:
            metrics.TIMERS_LATE.labels(self._database.schema, kind).observe(seconds)
        return True

    async def _take(self, uow: UnitOfWork, kind: str, limit: int) -> tuple[list[Timer], list[float]]:
        rows = (await uow.execute(_TAKE, {"kind": kind, "limit": limit})).all()
        ordered = sorted(rows, key=lambda row: row.due_at)
        timers = [Timer(row.kind, row.key, row.workspace, row.due_at, row.payload) for row in ordered]
        return timers, [max(0.0, row.late_seconds) for row in ordered]

    async def _park(self, kind: str, error: Exception) -> None:
        """The first due timer cannot be handled: keep it as a dead letter, so that those behind it fire."""
        async with self._database.unit_of_work() as uow:
            timers, _ = await self._take(uow, kind, 1)
            for timer in timers:
                log.error("timer_parked", kind=kind, key=timer.key, error=dead_letters.describe(error), exc_info=error)
                await dead_letters.park_timer(uow, timer.kind, timer.key, timer.workspace, timer.payload, error)
