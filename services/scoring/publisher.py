"""The publisher: sends scores that are due as soon as they are, each series at most once in its interval."""

import asyncio

from services.scoring.service import PUBLISH_SCORES, ScoringService
from shared.db.wakeup import wait
from shared.runtime.patience import through_outage

# Wake-ups are hints: without one a due score is found this much later.
_POLL_SECONDS = 1.0


class ScorePublisher:
    """A component; any number of processes may run it. What is due is a row: nothing is lost by a crash."""

    name = "score-publisher"

    def __init__(self, service: ScoringService, wakeup: asyncio.Event) -> None:
        self._service = service
        self._wakeup = wakeup
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Publish until `stop`."""
        while not self._stopping.is_set():
            published = await through_outage(self._service.publish_due, stopping=self._stopping)
            if published < PUBLISH_SCORES:
                seconds = await through_outage(self._service.seconds_to_next_due, stopping=self._stopping)
                await wait(self._wakeup, _POLL_SECONDS if seconds is None else min(_POLL_SECONDS, max(0.005, seconds)))

    async def stop(self) -> None:
        """Finish what is under way."""
        self._stopping.set()
        self._wakeup.set()
