"""Ingest behind a real socket, for what only happens on the wire: lengths that lie, chunks, clients that leave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.runtime.supervisor import HttpServer, listen
from tests.integration.ingest.conftest import Ingest
from tests.support.poll import eventually


@asynccontextmanager
async def served(ingest: Ingest) -> AsyncIterator[int]:
    """The port of a real server."""
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    server = HttpServer(ingest.door, listener)
    task = asyncio.create_task(server.run())
    try:
        await eventually(lambda: raw_request(port, ["GET /healthz HTTP/1.1", "Host: x"], b""))
        yield port
    finally:
        await server.stop()
        await asyncio.wait_for(task, 15)


async def raw_request(port: int, head: list[str], body: bytes) -> int:
    """Send these bytes and give the status of the answer; a server that hangs up while we send is no error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1"))
        with contextlib.suppress(ConnectionError):
            writer.write(body)
            await writer.drain()
        status = await asyncio.wait_for(reader.readline(), 10)
        return int(status.split()[1])
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
