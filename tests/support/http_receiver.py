"""A real HTTP server on loopback that keeps every request, and answers as it is told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class HttpReceiver:
    """`answers` are given one by one, then 200: an int is a status, bytes are sent as they are, `drop` closes without
    a word after the request was read, `hang` never answers."""

    port: int = 0
    connections: int = 0
    received: list[Received] = field(default_factory=list)
    answers: list[int | bytes | str] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
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
        self.received.append(Received(head[0], headers, body))
        answer = self.answers.pop(0) if self.answers else 200
        if answer == "drop":
            writer.transport.abort()
            return
        if answer == "hang":
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            await self.release.wait()
            self.open -= 1
            answer = 200
        if isinstance(answer, int):
            answer = f"HTTP/1.1 {answer} Whatever\r\ncontent-length: 2\r\n\r\nok".encode()
        writer.write(answer if isinstance(answer, bytes) else answer.encode())
        await writer.drain()


@asynccontextmanager
async def http_receiver() -> AsyncIterator[HttpReceiver]:
    """A server for the time of the block."""
    receiver = HttpReceiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.release.set()
        server.close()
