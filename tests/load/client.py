"""An HTTP/1.1 client that costs little next to the server it loads: prepared bytes out, a status and a body in."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Latencies:
    """Seconds per request of one run."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        """Add a request."""
        self.seconds.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def percentile(self, share: float) -> float:
        """The latency in seconds that `share` of the requests stayed under."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection:
    """One keep-alive connection to loopback."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def request(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """(status, body) of one request."""
        entity = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{entity}\r\n"
        self._writer.write(head.encode() + body)
        return await self._answer()

    async def post(self, path: str, document: Any) -> tuple[int, bytes]:
        """POST JSON."""
        return await self.request("POST", path, json.dumps(document).encode())

    async def events(self, path: str) -> "asyncio.StreamReader":
        """Open an event stream; its lines are read from what this returns (chunk framing included)."""
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._head}Accept: text/event-stream\r\n\r\n".encode())
        await self._reader.readuntil(b"\r\n\r\n")
        return self._reader

    async def _answer(self) -> tuple[int, bytes]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            length = int(lower[at + 15 : lower.index(b"\r\n", at)])
            return status, await self._reader.readexactly(length)
        chunks = []
        while size := int((await self._reader.readuntil(b"\r\n"))[:-2], 16):
            chunks.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return status, b"".join(chunks)


async def timed(connection: Connection, path: str, body: bytes, into: Latencies) -> None:
    """One POST, noted."""
    began = time.perf_counter()
    status, _ = await connection.request("POST", path, body)
    into.note(status, time.perf_counter() - began)
