"""Durable timers: rows with a due time by the database clock. Each fires once, with its effects, in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.db.wakeup import wait
from shared.runtime import dead_letters, faults
from shared.runtime.patience import is_outage_of_ours, through_outage
from shared.telemetry import metrics
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
_BATCH = 100
# The last column: should this process freeze now, the database gives the timers it holds to others after 3 s, so that
# they still fire within 5 s of their time (P7). Handlers do no more than that between two statements.
_TAKE = """
with due as (
    select workspace, kind, key from timer
    where due_at <= clock_timestamp() and kind = :kind
    order by due_at limit :limit for update skip locked
)
delete from timer using due
where timer.workspace = due.workspace and timer.kind = due.kind and timer.key = due.key
returning timer.kind, timer.key, timer.workspace, timer.due_at, timer.payload,
          extract(epoch from clock_timestamp() - timer.due_at)::float8 as late_seconds,
          set_config('idle_in_transaction_session_timeout', '3s', true)"""
_NEXT = """
select extract(epoch from min(first.due_at) - clock_timestamp())::float8
from unnest(cast(:kinds as text[])) as handled (kind),
     lateral (select due_at from timer where timer.kind = handled.kind order by due_at limit 1) as first"""
_REMOVE = """
delete from timer where workspace = :workspace and kind = :kind and key = :key and due_at = :due_at"""
# The next one may be in the hands of another process, which we cannot see: look again no sooner than this.
_LEAST_IDLE_SECONDS = 0.02


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
        self._poison = {kind: dead_letters.PoisonLimit() for kind in handlers}
        self._stopped: set[str] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Fire until `stop`."""
        while not self._stopping.is_set():
            fired = False
            for kind in self._handlers.keys() - self._stopped:
                fired |= await through_outage(lambda kind=kind: self._fire(kind, _BATCH), stopping=self._stopping)  # type: ignore[misc]
            if not fired:
                await wait(self._wakeup, await through_outage(self._idle_seconds, stopping=self._stopping))

    async def stop(self) -> None:
        """Finish the batch in work."""
        self._stopping.set()
        self._wakeup.set()

    async def _idle_seconds(self) -> float:
        async with self._database.glance() as reader:
            seconds = await reader.scalar(_NEXT, {"kinds": list(self._handlers.keys() - self._stopped)})
        return 1.0 if seconds is None else min(1.0, max(_LEAST_IDLE_SECONDS, seconds))

    async def _fire(self, kind: str, limit: int) -> bool:
        """Fire up to `limit` timers that are due, alone if they fail together; False when there was none."""
        timers: list[Timer] = []
        try:
            async with self._database.unit_of_work() as uow:
                timers, late = await self._take(uow, kind, limit)
                if not timers:
                    return False
                await self._handlers[kind](timers, uow)
                faults.reached("before_commit", "timers")
        except Exception as error:
            if is_outage_of_ours(error):
                raise
            if len(timers) > 1:
                for _ in timers:
                    if not await self._fire(kind, 1) or kind in self._stopped or self._stopping.is_set():
                        break
            else:
                await self._park(timers[0], error)
            return True
        self._poison[kind].handled(len(timers))
        for seconds in late:
            metrics.TIMERS_LATE.labels(self._database.schema, kind).observe(seconds)
        return True

    async def _take(self, uow: UnitOfWork, kind: str, limit: int) -> tuple[list[Timer], list[float]]:
        rows = (await uow.execute(_TAKE, {"kind": kind, "limit": limit})).all()
        ordered = sorted(rows, key=lambda row: row.due_at)
        timers = [Timer(row.kind, row.key, row.workspace, row.due_at, row.payload) for row in ordered]
        return timers, [max(0.0, row.late_seconds) for row in ordered]

    async def _park(self, timer: Timer, error: Exception) -> None:
        """It cannot be handled: keep it as a dead letter, so that those behind it fire. When too many fail, the handler
        is at fault: its timers wait in the table for a mended one."""
        if self._poison[timer.kind].reached():
            self._stopped.add(timer.kind)
            metrics.STOPPED_PARTITIONS.labels(self.name, timer.kind).inc()
            log.critical("timers_stopped", kind=timer.kind, hint="mend the handler, restart, then replay dead letters")
            return
        async with self._database.unit_of_work() as uow:
            where = {"workspace": timer.workspace, "kind": timer.kind, "key": timer.key, "due_at": timer.due_at}
            if (await uow.execute(_REMOVE, where)).rowcount == 0:
                return  # fired elsewhere, or moved, since it failed here
            await dead_letters.park_timer(uow, error=error, **asdict(timer))
        self._poison[timer.kind].parked()
        log.error("timer_parked", kind=timer.kind, key=timer.key, error=dead_letters.describe(error), exc_info=error)
