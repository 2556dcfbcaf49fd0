"""The one place in the tests that sleeps: everything else waits for a fact, with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...
async def eventually(check: Callable[[], T | Awaitable[T]], timeout: float = 20.0, interval: float = 0.02) -> T:
    """Calls `check` (plain or async) until what it returns is true, and returns that.

    An exception from `check` counts as "not yet". After `timeout` seconds: AssertionError with the last value or
    exception. A call of `check` that hangs is cut off at the deadline too.
    """
    deadline = time.monotonic() + timeout
    last = "check() was never finished"
    cause: Exception | None = None
    while (left := deadline - time.monotonic()) > 0:
        try:
            value = check()
            if inspect.isawaitable(value):
                value = await asyncio.wait_for(value, left)
        except Exception as error:
            last, cause = f"the last call raised {error!r}", error
        else:
            if value:
                return cast(T, value)
            last, cause = f"the last value was {value!r}", None
        await asyncio.sleep(interval)
    raise AssertionError(f"not true within {timeout:g} s: {last}") from cause
