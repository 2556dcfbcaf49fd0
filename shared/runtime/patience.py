"""Waiting for what we depend on: an outage is not an error of ours, and ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.core.errors import Unavailable
from shared.db.database import is_outage
from shared.runtime.backoff import Backoff

T = TypeVar("T")


async def through_outage(
    attempt: Callable[[], Awaitable[T]],
    *,
    stopping: asyncio.Event | None = None,
    waiting: Callable[[], None] = lambda: None,
) -> T:
    """Call `attempt` until it gets through; other errors than an outage are raised at once.

    `waiting` is called before each wait. Once `stopping` is set the outage itself is raised.
    """
    backoff = Backoff()
    while True:
        try:
            return await attempt()
        except Exception as error:
            if not is_outage_of_ours(error) or (stopping is not None and stopping.is_set()):
                raise
        waiting()
        await pause(backoff.delay(), stopping)


def is_outage_of_ours(error: BaseException) -> bool:
    """True when the database, the bus or another thing that we depend on is away: waiting mends it."""
    return isinstance(error, Unavailable) or is_outage(error)


async def pause(seconds: float, stopping: asyncio.Event | None) -> None:
    """Sleep, but not past `stopping`."""
    if stopping is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
