"""The delivery worker: claim → prepare → call → record.

The claim (state `sending`, a lease, an epoch) is committed before the call; the call happens outside any transaction;
its outcome is recorded under the same epoch. A row found in `sending` after its lease is `unknown`: it is shown, and
only a receiver that can tell a repeat by its id gets it again.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from services.notifier import changes, domain
from services.notifier.config import LEASE_MARGIN_SECONDS, NotifierSettings
from services.notifier.decisions import Claim, Decider
from services.notifier.messages import Composer
from services.notifier.repository import choices, followups
from services.notifier.transports import Outcome, Transport
from shared.core.errors import CloseloopError
from shared.db.database import Database
from shared.db.wakeup import wait
from shared.runtime import faults
from shared.runtime.patience import pause, through_outage
from shared.telemetry import metrics
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
_BATCH = 50
# A lone message goes at once; those of a trickle are claimed together.
_PACE_SECONDS = 0.05
_IDLE_SECONDS = 1.0
_SWEEP_SECONDS = 1.0
LOST = "the worker ended during the call: it may have been sent"


class DeliveryWorker:
    """A component; any number of processes may run it."""

    name = "notifier-delivery"

    def __init__(
        self,
        settings: NotifierSettings,
        database: Database,
        wakeup: asyncio.Event,
        decider: Decider,
        composer: Composer,
        transports: Mapping[str, Transport],
    ) -> None:
        self._settings = settings
        self._database = database
        self._wakeup = wakeup
        self._decider = decider
        self._composer = composer
        self._transports = dict(transports)
        self._calls: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[Any, Outcome]] = []
        self._recording = asyncio.Lock()
        self._swept_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Deliver until `stop`, then finish the calls under way."""
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                await self._sweep_sometimes()
                busy = await self._turn()
                if not busy:
                    await pause(began + _PACE_SECONDS - time.monotonic(), self._stopping)
                    await wait(self._wakeup, await through_outage(self._idle_seconds, stopping=self._stopping))
            if self._calls:
                await asyncio.gather(*self._calls)
        finally:
            for call in self._calls:
                call.cancel()

    async def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self._wakeup.set()

    async def _turn(self) -> bool:
        """Claim what there is room for and start its calls; False when there is nothing to do now."""
        room = min(_BATCH, self._settings.delivery_concurrency - len(self._calls))
        if room <= 0:
            return False
        claimed_at = time.monotonic()
        claims, due = await through_outage(lambda: self._claim(room), stopping=self._stopping)
        if claims:
            faults.reached("after_claim", "delivery")
        for claim in claims:
            call = asyncio.create_task(self._deliver(claim, claimed_at))
            self._calls.add(call)
            call.add_done_callback(self._forget)
        return due

    def _forget(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._wakeup.set()
        if not call.cancelled() and (error := call.exception()) is not None:
            # The row stays in sending and becomes unknown when its lease ends: that is what we know about it.
            log.error("delivery_broke", error=type(error).__name__, exc_info=error)

    async def _claim(self, room: int) -> tuple[list[Claim], bool]:
        async with self._database.unit_of_work() as uow:
            return await self._decider.claim(uow, room)

    async def _deliver(self, claim: Claim, claimed_at: float) -> None:
        outcome = await self._call(claim, claimed_at)
        faults.reached("after_send", "delivery")
        metrics.DELIVERIES.labels(claim.row.transport, outcome.kind.replace(" ", "_")).inc()
        self._ended.append((claim.row, outcome))
        async with self._recording:  # who gets it records for all that wait for it: at load they share a commit
            if ended := self._ended:
                self._ended = []
                await through_outage(lambda: self._record(ended), stopping=self._stopping)

    async def _call(self, claim: Claim, claimed_at: float) -> Outcome:
        row = claim.row
        try:
            outgoing = self._composer.compose(row, claim.facts)
        except CloseloopError as error:
            return Outcome("not sent", error.detail, permanent=True)
        if time.monotonic() - claimed_at > LEASE_MARGIN_SECONDS:
            return Outcome("not sent", "this worker was held up: its lease could end during the call")
        return await self._transports[row.transport].send(outgoing)

    async def _record(self, ended: Sequence[tuple[Any, Outcome]]) -> None:
        results = [self._result(row, outcome) for row, outcome in ended]
        async with self._database.unit_of_work() as uow:
            changes.publish(uow, await followups.settle(uow, results))
            for row, outcome in ended:
                if row.transport != "email":
                    await self._note_health(uow, row, outcome)
            if any(result["retry_seconds"] is not None for result in results):
                await followups.wake_delivery(uow)
            faults.reached("before_mark", "delivery")

    def _result(self, row: Any, outcome: Outcome) -> dict[str, Any]:
        state, reason, retry = self._judge(row, outcome)
        return {
            "workspace": row.workspace,
            "id": str(row.id),
            "epoch": row.epoch,
            "number": row.attempts,
            "state": state,
            "reason": reason,
            "retry_seconds": retry,
            "outcome": outcome.kind,
            "status": outcome.status,
        }

    def _judge(self, row: Any, outcome: Outcome) -> tuple[str, str | None, float | None]:
        """(state, reason, seconds until the next attempt or None)."""
        if outcome.kind == "ok":
            return "sent", None, None
        resends = outcome.kind != "unknown" or self._transports[row.transport].resends_unknown
        retry = None
        if resends and not outcome.permanent:
            retry = domain.retry_seconds(
                row.tries,
                schedule=self._settings.delivery_retry_seconds,
                random=random.random(),  # noqa: S311 - jitter, not a secret
                retry_after=outcome.retry_after_seconds,
            )
        if outcome.kind == "unknown":
            return "unknown", outcome.reason, retry
        if retry is not None:
            return "planned", f"{outcome.reason}; attempt {row.tries + 1} follows", retry
        tried = f" (tried {domain.times(row.tries)})" if row.tries > 1 else ""
        return "failed", f"{outcome.reason}{tried}", None

    async def _note_health(self, uow: Any, row: Any, outcome: Outcome) -> None:
        disabled = await choices.note_health(
            uow,
            row.workspace,
            row.recipient,
            ok=outcome.kind == "ok",
            gone=outcome.reason if outcome.gone else None,
            failing_limit_seconds=self._settings.endpoint_failing_days * domain.DAY_SECONDS,
        )
        if disabled:
            log.warning("endpoint_disabled", workspace=row.workspace, audience=row.audience, transport=row.transport)

    async def _sweep_sometimes(self) -> None:
        if time.monotonic() - self._swept_at >= _SWEEP_SECONDS:
            await through_outage(self._sweep, stopping=self._stopping)
            self._swept_at = time.monotonic()

    async def _sweep(self) -> None:
        """Rows in `sending` whose lease is over: unknown, and resent only where a repeat does no harm."""
        async with self._database.unit_of_work() as uow:
            expired = await followups.lock_expired(uow)
            lost = Outcome("unknown", LOST)
            changes.publish(uow, await followups.settle(uow, [self._result(row, lost) for row in expired]))
        for row in expired:
            metrics.DELIVERIES.labels(row.transport, "unknown").inc()

    async def _idle_seconds(self) -> float:
        async with self._database.glance() as reader:
            seconds = await followups.next_due_seconds(reader)
        # Rows may be due and yet wait for room at their endpoint: then the end of a call wakes us.
        return _IDLE_SECONDS if seconds is None or seconds <= 0 else min(_IDLE_SECONDS, seconds)
