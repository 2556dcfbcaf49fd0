"""The projector: counts what consumers have stored and publishes scores, in one process at a time."""

import asyncio
import time

from services.scoring.service import ScoringService
from shared.db.wakeup import wait
from shared.runtime.lease import LEASE_SECONDS, Lease
from shared.runtime.patience import pause, through_outage
from shared.telemetry import metrics

# Wake-ups are hints: without one, work is found this much later.
_POLL_SECONDS = 1.0
# Blocks of a trickle share a transaction: it costs as much for one as for ten.
_PACE_SECONDS = 0.02


class Projector:
    """A component; any number of processes may run it. The one with the lease works, because it remembers where every
    answer stands. Two at once do no harm: a workspace's row lets one transaction in at a time, and who finds that
    somebody else has worked on it reads anew."""

    name = "score-projector"

    def __init__(self, service: ScoringService, lease: Lease, wakeup: asyncio.Event) -> None:
        self._service = service
        self._lease = lease
        self._wakeup = wakeup
        self._renew_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Project until `stop`."""
        while not self._stopping.is_set():
            if not await through_outage(self._hold, stopping=self._stopping):
                self._service.forget()
                await pause(LEASE_SECONDS / 10, self._stopping)
                continue
            began = time.monotonic()
            if not await through_outage(self._turn, stopping=self._stopping):
                await pause(began + _PACE_SECONDS - time.monotonic(), self._stopping)
                seconds = self._service.next_due()
                await wait(self._wakeup, _POLL_SECONDS if seconds is None else min(_POLL_SECONDS, max(0.005, seconds)))
        await self._lease.release()

    async def stop(self) -> None:
        """Finish what is under way."""
        self._stopping.set()
        self._wakeup.set()

    async def _hold(self) -> bool:
        if time.monotonic() < self._renew_at:
            return True
        held = await self._lease.take() is not None
        metrics.UNCOUNTED.set(await self._service.uncounted() if held else 0)
        self._renew_at = time.monotonic() + LEASE_SECONDS / 3 if held else 0.0
        return held

    async def _turn(self) -> bool:
        """Work on every workspace once; True when one of them has more to do."""
        more = False
        for workspace in sorted(await self._service.waiting()):
            more |= await self._service.project(workspace)
        return more
