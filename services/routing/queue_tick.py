"""Tries the queues again and again: nobody tells us when hours begin or an absence ends, the database clock does."""

import asyncio
import contextlib

from services.routing.service.crew import Crew
from shared.runtime.patience import through_outage


class QueueTick:
    """A component. What waits is rows, so nothing is lost with it; any number of processes may run it."""

    def __init__(self, crew: Crew, seconds: float) -> None:
        self.name = "queue-tick"
        self._crew = crew
        self._seconds = seconds
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Tick until `stop`."""
        while not self._stopping.is_set():
            await through_outage(self._crew.tick, stopping=self._stopping)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._seconds)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
