"""P15 on a real process: whatever comes to a source, it is answered as it should be, and memory stays bounded.

What is proven and not understood is kept as a dead letter, so its answer is 202."""

import asyncio
import gzip
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.kafka.broker import free_port
from services.ingest.sources import CONNECTORS
from services.ingest.sources.base import configured
from services.ingest.sources.proof import Credential, with_proof
from services.ingest.sources.samples import sample
from shared.auth.signatures import Signed
from shared.http.app import BODY_LIMIT_BYTES
from tests.integration.ingest.conftest import Ingest, signed_headers
from tests.support.poll import eventually

SETTINGS = {"signature": {"scheme": "hmac", "header": "X-Signature"}}
SLOW_CONNECTIONS = 500
MEBIBYTE = 1024 * 1024


@dataclass
class Process:
    """ingest in a process of its own."""

    pid: int
    port: int
    client: httpx.AsyncClient

    def peak(self) -> int:
        """The most memory that it has had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    async def raw(self, *pieces: bytes) -> bytes:
        """The status line of the answer to these bytes; a server that hangs up while we send is no error."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.readline(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def process(ingest: Ingest, folder: Path) -> AsyncIterator[Process]:
    port = free_port()
    environment = {"DATABASE_URL": ingest.url, "DATA_DIR": str(folder), "HTTP_PORT": str(port), "LOG_LEVEL": "warning"}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ingest", env={**os.environ, **environment}
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await eventually(ready, timeout=60)
            yield Process(program.pid, port, client)
    finally:
        program.terminate()
        await asyncio.wait_for(program.wait(), 30)


def _credential(connector: str) -> Credential:
    found = CONNECTORS[connector]
    return found.credential(configured(found, {}))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_a_source_under_attack(ingest: Ingest, tmp_path: Path) -> None:
    mine = await ingest.add("mine", "generic", SETTINGS)
    theirs = await ingest.add("theirs", "slack")

    def signed(body: bytes) -> dict[str, str]:
        return signed_headers(mine, body, SETTINGS, {"content-type": "application/json"})

    async with process(ingest, tmp_path) as server:

        async def status(body: bytes, **headers: str) -> int:
            return (await server.client.post(mine.path, content=body, headers={**signed(body), **headers})).status_code

        good = b'{"id":"%s","channel":"store","text":"fine"}'
        assert await status(good % b"before") == 202
        before = server.peak()

        # Sizes: nothing, the limit, one more, in pieces, and lengths that lie.
        assert await status(b"") == 202
        assert await status(b"x" * BODY_LIMIT_BYTES) == 202
        assert await status(b"x" * (BODY_LIMIT_BYTES + 1)) == 413
        head = f"POST {mine.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        piece = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
        chunks = b"Transfer-Encoding: chunked\r\n\r\n"
        assert b" 413 " in await server.raw(head, chunks, *[piece] * 4, b"1\r\nx\r\n0\r\n\r\n")
        assert b" 202 " not in await server.raw(head, chunks, *[piece] * 400), "cut, with an answer or without"
        assert b" 413 " in await server.raw(head, b"Content-Length: 99999999999\r\n\r\n")
        assert b" 400 " in await server.raw(head, b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456")
        assert b" 400 " in await server.raw(head, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b" 401 " in await server.raw(head, b"Content-Length: 5\r\n\r\n", good % b"more than it says")

        # Shapes: what is deep, what has many keys, what inflates.
        for body in (b"[" * 100_000, b'{"a":' * 40_000, json.dumps({f"k{n}": n for n in range(12_000)}).encode()):
            assert await status(body) == 202
        assert await status(gzip.compress(b"0" * 100 * MEBIBYTE), **{"content-encoding": "gzip"}) == 202
        slack = with_proof(_credential(theirs.connector), sample("slack"), theirs.secret)
        bombs = [b"[" * 200_000, b'{"type":"event_callback","event":' * 5_000]
        for body in bombs:
            proof = with_proof(_credential(theirs.connector), Signed(body, {}), theirs.secret)
            answer = await server.client.post(theirs.path, content=body, headers=dict(proof.headers))
            assert answer.status_code == 200
        assert (await server.client.post(theirs.path, content=slack.body, headers=dict(slack.headers))).is_success

        # Slowly: five hundred heads and as many bodies that do not go on; others are served meanwhile.
        slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2 * SLOW_CONNECTIONS)]
        for number, (_, writer) in enumerate(slow):
            writer.write(head[:20] if number % 2 else head + b"Content-Length: 200000\r\n\r\nx")
        assert await status(good % b"meanwhile") == 202
        ended = await asyncio.wait_for(
            asyncio.gather(*(reader.read() for reader, _ in slow[1::2]), return_exceptions=True), 20
        )
        assert len(ended) == SLOW_CONNECTIONS
        for _, writer in slow:
            writer.close()
        assert await status(good % b"after") == 202
        assert server.peak() - before < 64 * MEBIBYTE
    assert [event.data.sensitive.text for event in await ingest.events()].count("fine") == 3
    assert len(await ingest.letters()) == 8
