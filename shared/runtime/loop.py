"""The event loop of our processes: uvloop, which halves what a round trip to the database costs in Python."""

import asyncio
import ctypes
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
# Objects made since the last search of the young ones; searches of each age until the next older one is looked at.
_COLLECT_AFTER = (200_000, 10, 10)
# glibc's mallopt(3): how much may lie free before it goes back to the system, and what is asked of the system alone.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, 128 * 1024 * 1024), (-3, 32 * 1024 * 1024)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def settle_heap() -> None:
    """Call once when everything is built: what lives as long as the process is not searched for garbage again. Each
    full search of it stood still for 120 to 200 ms, several times a minute under load. What comes later is searched
    seldom: a batch of ten thousand records is a hundred thousand objects, none of them garbage while it is read, and
    looking at them every few hundred cost a sixth of reading them.

    What is freed is kept for what comes next. glibc gives a batch's megabytes back as soon as it is read, and to be
    given them anew, page by page, takes three times as long as to decompress into them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # other libraries of C have none
        mallopt(*_TRIM_THRESHOLD)
        mallopt(*_MMAP_THRESHOLD)
