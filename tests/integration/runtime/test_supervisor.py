"""A process and its end: 0 on a signal whatever is open or away, 1 when a part fails, at once on a second signal."""

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from shared.core.errors import CloseloopError, Unavailable
from shared.http.app import Readiness
from shared.runtime import supervisor
from shared.runtime.component import Service
from shared.runtime.supervisor import Supervisor
from tests.support.poll import eventually

AWAY = "postgresql://nobody@127.0.0.1:1/none"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Served:
    """A process of tests.support.served."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(self.url + path)

    async def ready(self) -> bool:
        return (await self.get("/readyz")).status_code == 200

    async def end(self) -> tuple[int, str]:
        """Wait for the end; exit code and what it said."""
        async with asyncio.timeout(30):
            _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def served(url: str, *options: str) -> AsyncIterator[Served]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.served", url, str(port), *options), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Served(process, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_open_streams(database_url: str, number: signal.Signals) -> None:
    async with served(database_url) as one, httpx.AsyncClient(timeout=30) as client:
        await eventually(one.ready, timeout=30)
        async with client.stream("GET", one.url + "/stream") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            one.process.send_signal(number)
            began = time.monotonic()
            draining = await eventually(lambda: _draining(one))
            assert draining["checks"]["shutdown"] == "draining"
            async for _ in lines:
                pass  # it ends, by itself
            code, said = await one.end()
    assert code == 0, said
    assert time.monotonic() - began < 6  # the 2 s of being unready, and no wait for the streams
    assert "Traceback" not in said
    assert "warning" not in said


async def _draining(one: Served) -> dict[str, dict[str, str]] | None:
    answer = await one.get("/readyz")
    return answer.json() if answer.status_code == 503 else None


async def test_a_signal_ends_the_wait_for_a_database_that_is_away() -> None:
    async with served(AWAY) as one:
        await eventually(lambda: _signalled_in_start(one), timeout=30)
        code, said = await one.end()
    assert (code, "Traceback" in said) == (0, False), said


async def _signalled_in_start(one: Served) -> bool:
    """Signals are caught before the port is bound; one before that would be none of ours."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(one.url.rpartition(":")[2]))
    writer.close()
    one.process.send_signal(signal.SIGTERM)
    return True


async def test_a_part_that_fails_ends_the_process_and_its_text_is_not_logged(database_url: str) -> None:
    async with served(database_url, "fail") as one:
        code, said = await one.end()
    assert code == 1
    assert "mina@example.org" not in said
    ended = [json.loads(line) for line in said.splitlines() if "component_ended" in line]
    assert [(line["component"], line["error"]) for line in ended] == [("fail", "LookupError")]


async def test_a_second_signal_ends_it_at_once(database_url: str) -> None:
    async with served(database_url, "hang") as one:
        await eventually(one.ready, timeout=30)
        one.process.send_signal(signal.SIGINT)
        one.process.send_signal(signal.SIGINT)  # what a wrapper passes on as well is the same one
        began = time.monotonic()
        await eventually(lambda: _draining(one))
        await eventually(lambda: time.monotonic() - began > 0.7, timeout=2)
        one.process.send_signal(signal.SIGINT)
        code, _ = await one.end()
    assert code == 128 + signal.SIGINT
    assert time.monotonic() - began < 2


async def test_a_taken_port_is_one_line(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.served", database_url, str(listener.getsockname()[1])),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().count("\n") == 1
    assert "HTTP_PORT" in said.decode()


# In this process


class Part:
    """A component for the supervisor; notes when it stops."""

    def __init__(self, name: str, ends: list[str], error: Exception | None = None, *, hang: bool = False) -> None:
        self.name = name
        self._ends = ends
        self._error = error
        self._hang = hang
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        try:
            await self._stopping.wait()
            if self._hang:
                await asyncio.Event().wait()
            if self._error is not None:
                raise self._error
        finally:
            self._ends.append(self.name)

    async def stop(self) -> None:
        self._stopping.set()


async def run(service: Service, server: Part | None = None) -> int:
    """Start, shut down as soon as all run, end."""
    one = Supervisor([service], Readiness({}))
    task = asyncio.create_task(one.run(server, unready_seconds=0))
    await asyncio.wait([task], timeout=0.2)
    one.shut_down()
    async with asyncio.timeout(10):
        return await task


async def test_feeds_end_first_then_the_server_then_the_rest_in_reverse() -> None:
    ends: list[str] = []

    async def closed() -> None:
        ends.append("closed")

    service = Service("x", components=[Part("relay", ends), Part("consumer", ends)], close=[closed])
    service.feeds.append(Part("feed", ends))
    assert await run(service, Part("http", ends)) == 0
    assert ends == ["feed", "http", "consumer", "relay", "closed"]


async def test_a_part_that_hangs_is_cancelled_and_the_others_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "DRAIN_SECONDS", 0.5)
    ends: list[str] = []
    service = Service("x", components=[Part("well", ends), Part("hangs", ends, hang=True)])
    assert await run(service) == 0
    assert set(ends) == {"well", "hangs"}


@pytest.mark.parametrize(("error", "code"), [(Unavailable("away"), 0), (LookupError("bug"), 1)])
async def test_an_outage_at_the_end_is_no_failure_and_a_bug_is(error: Exception, code: int) -> None:
    ends: list[str] = []
    service = Service("x", components=[Part("well", ends), Part("odd", ends, error)])
    assert await run(service) == code
    assert set(ends) == {"well", "odd"}


async def test_what_no_waiting_mends_is_raised_and_what_was_opened_is_closed() -> None:
    closed = asyncio.Event()

    async def no_schema() -> None:
        raise CloseloopError("run `closeloop migrate` first")

    async def close() -> None:
        closed.set()

    with pytest.raises(CloseloopError, match="migrate"):
        await Supervisor([Service("x", start=[no_schema], close=[close])], Readiness({})).run(None)
    assert closed.is_set()
