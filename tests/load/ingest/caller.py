"""A load generator that costs little next to what it loads: prepared bytes out, a status in, over keep-alive."""

import asyncio
import time
from collections.abc import Callable, Iterator


class Caller(asyncio.Protocol):
    """One connection with one request under way at a time; `answered` gets each status and says what comes next."""

    def __init__(self, answered: "Callable[[Caller, int], None]", done: "asyncio.Future[None]") -> None:
        self._answered = answered
        self._done = done
        self._seen = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head = self._seen.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._seen[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._seen) < head + 4 + length:
            return
        status = int(self._seen[9:12])
        self._seen = b""
        self._answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("closed by the server"))

    def send(self, request: bytes) -> None:
        """Its answer comes to `answered`."""
        assert self.transport is not None
        self.transport.write(request)

    def close(self) -> None:
        """Nothing more comes."""
        assert self.transport is not None
        if not self._done.done():
            self._done.set_result(None)
        self.transport.close()


async def opened(
    port: int, connections: int, answered: Callable[[Caller, int], None]
) -> tuple[list[Caller], list["asyncio.Future[None]"]]:
    """So many connections, and the end of each."""
    loop = asyncio.get_running_loop()
    callers, ends = [], []
    for _ in range(connections):
        end: asyncio.Future[None] = loop.create_future()
        _, caller = await loop.create_connection(lambda end=end: Caller(answered, end), "127.0.0.1", port)  # type: ignore[misc]
        callers.append(caller)
        ends.append(end)
    return callers, ends


async def closed_loop(port: int, requests: list[bytes], connections: int) -> tuple[float, dict[int, int]]:
    """All requests over so many connections, each with one under way: (seconds, answers by status)."""
    statuses: dict[int, int] = {}
    left: Iterator[bytes] = iter(requests)

    def go_on(caller: Caller) -> None:
        if (request := next(left, None)) is None:
            caller.close()
        else:
            caller.send(request)

    def answered(caller: Caller, status: int) -> None:
        statuses[status] = statuses.get(status, 0) + 1
        go_on(caller)

    callers, ends = await opened(port, connections, answered)
    began = time.perf_counter()
    for caller in callers:
        go_on(caller)
    await asyncio.gather(*ends)
    return time.perf_counter() - began, statuses


async def paced(port: int, requests: list[bytes], rate: float, connections: int) -> list[float]:
    """So many requests a second, whatever the answers take: seconds from when each was due until its answer, sorted.
    The first over each connection comes before: 256 connections that are being taken would make up the slowest
    hundredth."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    next_of: dict[Caller, int] = {}
    began = 0.0

    def due(number: int) -> float:
        return began + (number - connections) / rate

    def go_on(caller: Caller) -> None:
        number = next_of[caller] = next_of[caller] + connections
        if number < len(requests):
            loop.call_later(max(0.0, due(number) - time.perf_counter()), caller.send, requests[number])
        else:
            caller.close()

    def answered(caller: Caller, _: int) -> None:
        if began:
            took.append(time.perf_counter() - due(next_of[caller]))
            go_on(caller)
        else:
            met.append(caller)
            if len(met) == connections:
                all_met.set()

    met: list[Caller] = []
    all_met = asyncio.Event()
    callers, ends = await opened(port, connections, answered)
    for number, caller in enumerate(callers):
        next_of[caller] = number
        caller.send(requests[number])
    await all_met.wait()
    began = time.perf_counter()
    for caller in callers:
        go_on(caller)
    await asyncio.gather(*ends)
    return sorted(took)
