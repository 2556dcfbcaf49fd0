"""A vendor's API in the test process: a real HTTP server that knows its objects and behaves as badly as it is told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Reply = int | bytes | str | tuple[int, dict[str, str]]
"""A status, bytes as they are, `drop`, `hang` (until `release`), `cut` (half a body), or a status with headers."""


@dataclass(frozen=True)
class Call:
    """One request; `at` is the loop's clock."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Vendor:
    """`objects` is path → what it answers, a function of the call where it depends on that; `replies` come first, one
    by one. Who has not `authorization` (header, value) gets 401."""

    port: int = 0
    authorization: tuple[str, str] | None = None
    objects: dict[str, Any] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    open: dict[str, int] = field(default_factory=dict)
    most_open: int = 0
    most_at_once: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [call.path for call in self.calls]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = head[0].split(" ")
        parts = urlsplit(target)
        at = asyncio.get_running_loop().time()
        call = Call(method, parts.path, dict(parse_qsl(parts.query)), headers, body, at)
        self.calls.append(call)
        self.open[call.path] = self.open.get(call.path, 0) + 1
        self.most_open = max(self.most_open, self.open[call.path])
        self.most_at_once = max(self.most_at_once, sum(self.open.values()))
        try:
            await self._reply(call, writer)
        finally:
            self.open[call.path] -= 1

    async def _reply(self, call: Call, writer: asyncio.StreamWriter) -> None:
        reply = self.replies.pop(0) if self.replies else None
        if reply == "drop":
            writer.transport.abort()
            return
        if reply == "hang":
            await self.release.wait()
            reply = None
        if reply == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        elif isinstance(reply, bytes):
            writer.write(_http(200, {}, reply))
        elif isinstance(reply, int):
            writer.write(_http(reply, {}, b"{}"))
        elif isinstance(reply, tuple):
            writer.write(_http(*reply, b"{}"))
        else:
            writer.write(_http(*self._known(call)))
        await writer.drain()

    def _known(self, call: Call) -> tuple[int, dict[str, str], bytes]:
        found = self.objects.get(call.path)
        if callable(found):
            found = found(call)
        elif self.authorization and call.headers.get(self.authorization[0]) != self.authorization[1]:
            return 401, {}, b"{}"
        if found is None or isinstance(found, int):
            return found or 404, {}, b"{}"
        return 200, {}, found if isinstance(found, bytes) else json.dumps(found).encode()


def _http(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@asynccontextmanager
async def running_vendor() -> AsyncIterator[Vendor]:
    """A vendor for the time of the block."""
    vendor = Vendor()
    server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0)
    vendor.port = server.sockets[0].getsockname()[1]
    try:
        yield vendor
    finally:
        vendor.release.set()
        server.close()
