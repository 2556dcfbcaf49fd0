"""The event loop of our processes: uvloop, which halves what a round trip to the database costs in Python."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
# Objects made since the last search of the young ones; searches of each age until the next older one is looked at.
_COLLECT_AFTER = (200_000, 10, 10)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def settle_heap() -> None:
    """Call once when everything is built: what lives as long as the process is not searched for garbage again. Each
    full search of it stood still for 120 to 200 ms, several times a minute under load. What comes later is searched
    seldom: a batch of ten thousand records is a hundred thousand objects, none of them garbage while it is read, and
    looking at them every few hundred cost a sixth of reading them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
