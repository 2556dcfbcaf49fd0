"""Start-up steps for a service that works without what they reach: tried beside it until they succeed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from shared.runtime.patience import is_outage_of_ours, through_outage


class Reaching:
    """A component: its `steps` run once each and in order, through any outage."""

    def __init__(self, name: str, steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self.name = name
        self._steps = steps
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Reach, then wait for `stop`. Raises what no waiting mends."""
        for step in self._steps:
            try:
                await through_outage(step, stopping=self._stopping)
            except Exception as error:
                if not (self._stopping.is_set() and is_outage_of_ours(error)):
                    raise
                return
        await self._stopping.wait()

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
