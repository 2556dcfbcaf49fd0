"""Waiting through an outage: longer each time, ended by success, by another error, or by a stop."""

import asyncio

import pytest

from shared.bus.port import BusUnavailable
from shared.core.errors import InvalidInput, Unavailable
from shared.runtime import patience
from shared.runtime.backoff import Backoff
from shared.runtime.patience import pause, through_outage


def test_delays_double_up_to_a_limit_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(first=0.1, most=1.0)
    for expected in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert 0.8 * expected <= backoff.delay() <= 1.2 * expected
    backoff.reset()
    assert backoff.delay() <= 0.12


@pytest.mark.parametrize("outage", [Unavailable("db"), BusUnavailable("bus"), ConnectionResetError(), TimeoutError()])
async def test_an_outage_is_waited_for(outage: Exception) -> None:
    failures = [outage, outage]
    waits = 0

    async def attempt() -> str:
        if failures:
            raise failures.pop()
        return "through"

    def waiting() -> None:
        nonlocal waits
        waits += 1

    assert await through_outage(attempt, waiting=waiting) == "through"
    assert waits == 2


async def test_another_error_is_raised_at_once() -> None:
    calls = 0

    async def attempt() -> None:
        nonlocal calls
        calls += 1
        raise InvalidInput("bad")

    with pytest.raises(InvalidInput):
        await through_outage(attempt)
    assert calls == 1


async def test_a_stop_ends_the_wait_with_the_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "Backoff", lambda: Backoff(first=60, most=60))
    stopping = asyncio.Event()
    tried = asyncio.Event()

    async def attempt() -> None:
        tried.set()
        raise Unavailable("away")

    task = asyncio.create_task(through_outage(attempt, stopping=stopping))
    await tried.wait()
    stopping.set()
    with pytest.raises(Unavailable):
        async with asyncio.timeout(2):
            await task


async def test_a_pause_does_not_outlast_a_stop() -> None:
    stopping = asyncio.Event()
    stopping.set()
    async with asyncio.timeout(1):
        await pause(60, stopping)
