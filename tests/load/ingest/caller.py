"""A load generator that costs little next to what it loads: prepared bytes out, a status in, over keep-alive."""

import asyncio
import time
from collections.abc import Iterator


class Caller(asyncio.Protocol):
    """One connection that sends the next request when the last one is answered."""

    def __init__(self, requests: Iterator[bytes], statuses: dict[int, int], done: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._statuses = statuses
        self._done = done
        self._seen = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._next()

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
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._seen = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("closed by the server"))

    def _next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()


async def closed_loop(port: int, requests: list[bytes], connections: int) -> tuple[float, dict[int, int]]:
    """All requests over so many connections, each with one under way: (seconds, answers by status)."""
    loop = asyncio.get_running_loop()
    statuses: dict[int, int] = {}
    shared = iter(requests)
    began = time.perf_counter()
    ends = []
    for _ in range(connections):
        end: asyncio.Future[None] = loop.create_future()
        ends.append(end)
        await loop.create_connection(lambda end=end: Caller(shared, statuses, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    return time.perf_counter() - began, statuses


async def paced(port: int, requests: list[bytes], rate: float, connections: int) -> list[float]:
    """So many requests a second, whatever the answers take: seconds from when each was due until its answer, sorted.
    Over connections that are open already: 256 that are opened at once would make up the slowest hundredth."""
    took: list[float] = []
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    began = time.perf_counter()

    async def one(lane: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(lane, len(requests), connections):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(requests[number])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            at = head.find(b"content-length:")
            if at >= 0:
                await reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
            took.append(time.perf_counter() - due)
        writer.close()

    await asyncio.gather(*(one(lane, *pair) for lane, pair in enumerate(opened)))
    return sorted(took)
