from itertools import count

import pytest

from tests.support.poll import eventually


async def test_returns_the_first_true_value() -> None:
    calls = count()
    assert await eventually(lambda: next(calls) >= 2 and "done", interval=0) == "done"


async def test_awaits_async_checks_and_takes_exceptions_for_not_yet() -> None:
    calls = count()

    async def check() -> str:
        if next(calls) < 2:
            raise ConnectionError("starting")
        return "up"

    assert await eventually(check, interval=0) == "up"


async def test_deadline_shows_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"within 0.05 s: the last value was 0"):
        await eventually(lambda: 0, timeout=0.05, interval=0.01)


async def test_deadline_keeps_the_last_exception_as_its_cause() -> None:
    def check() -> bool:
        raise LookupError("nobody")

    with pytest.raises(AssertionError, match=r"LookupError\('nobody'\)") as caught:
        await eventually(check, timeout=0.05, interval=0.01)
    assert isinstance(caught.value.__cause__, LookupError)
