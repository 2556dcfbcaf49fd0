"""The desk in front of the app, on the wire: what it takes, what it leaves to the app, and that nobody can tell."""

import asyncio
import hashlib
import hmac
import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.ingest import desk
from services.ingest.admin import SourceSecret
from services.ingest.directory import Source
from services.ingest.outlet import BusOutlet
from shared.auth.signatures import Signed
from shared.bus.port import Message
from shared.http import protocol
from shared.http.plain import BODY_BYTES
from tests.integration.ingest.conftest import Ingest, running_ingest
from tests.integration.ingest.wire import raw_request, served
from tests.support.poll import eventually

SETTINGS = {"signature": {"scheme": "hmac", "header": "X-Signature"}}


class Wire:
    """One connection to ingest, and what the desk said to what came over it."""

    def __init__(
        self, port: int, source: SourceSecret, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.port = port
        self.source = source
        self.reader = reader
        self.writer = writer

    def request(self, name: str, *headers: str, secret: str | None = None, text: str = "Late again.") -> bytes:
        """A signed delivery."""
        body = json.dumps({"id": name, "channel": "store", "text": text}, separators=(",", ":")).encode()
        signature = hmac.new((secret or self.source.secret).encode(), body, hashlib.sha256).hexdigest()
        lines = [f"POST {self.source.path} HTTP/1.1", "Host: x", f"X-Signature: {signature}", *headers]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: status and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ")[1]), await self.reader.readexactly(length)

    async def status(self, *pieces: bytes) -> int:
        """The status of the answer to a request that comes in these pieces."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if piece is not pieces[-1]:  # another answer tells that the server has read this
                await raw_request(self.port, ["GET /healthz HTTP/1.1", "Host: x"], b"")
        return (await self.answer())[0]

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(1), 20) == b""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the desk said to each request that came to it."""
    said: list[bool] = []
    records = desk._records

    def noted(source: Source, messages: Sequence[Signed]) -> list[Message | None]:
        found = records(source, messages)
        said.extend(record is not None for record in found)
        return found

    monkeypatch.setattr(desk, "_records", noted)
    return said


@asynccontextmanager
async def wire(ingest: Ingest) -> AsyncIterator[Wire]:
    """A connection to a server that ends first, after a first delivery that has taught the quick way."""
    async with served(ingest) as port:
        source = await ingest.add("desk", "generic", SETTINGS)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = Wire(port, source, reader, writer)
        assert await found.status(found.request("first")) == 202
        yield found
    writer.close()


async def test_deliveries_are_taken_however_they_come(ingest: Ingest, taken: list[bool]) -> None:
    async with wire(ingest) as line:
        del taken[:]
        whole = line.request("whole")
        assert await line.status(whole) == 202
        for cut in (1, 40, whole.index(b"\r\n\r\n") + 4, len(whole) - 1):
            parts = line.request(f"cut {cut}")
            assert await line.status(parts[:cut], parts[cut:]) == 202
        assert taken == [True] * 3, "a head in pieces is for the parser"
        # Several in one piece: answers keep their order, and all of them are there.
        line.writer.write(line.request("a") + line.request("b", secret="wrong") + line.request("c"))
        assert [(await line.answer())[0] for _ in range(3)] == [202, 401, 202]
        line.writer.write(line.request("d") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + line.request("e"))
        bodies = [(await line.answer())[1] for _ in range(3)]
        assert bodies[1] == b'{"status":"ok"}'
        assert json.loads(bodies[0]) == json.loads(bodies[2]) == {"accepted": 1, "parked": 0, "skipped": {}}
        # The next before the answer to the first.
        line.writer.write(line.request("f"))
        await line.writer.drain()
        line.writer.write(line.request("g"))
        assert [(await line.answer())[0] for _ in range(2)] == [202, 202]
    ids = {event.id for event in await ingest.events()}
    assert len(ids) == len(await ingest.events()) == 1 + 5 + 2 + 2 + 2


async def test_what_is_not_plain_is_the_apps(ingest: Ingest, taken: list[bool]) -> None:
    async with wire(ingest) as line:
        del taken[:]
        assert await line.status(line.request("x", secret="wrong")) == 401
        assert await line.status(line.request("y", text="e\u0301")) == 202
        assert taken == [False, False]
        large = b'{"id":"z","channel":"store","text":"%s"}' % (b"x" * BODY_BYTES)
        signature = hmac.new(line.source.secret.encode(), large, hashlib.sha256).hexdigest()
        head = f"POST {line.source.path} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\n"
        assert await line.status(head.encode() + b"Content-Length: %d\r\n\r\n" % len(large), large) == 202
        chunked = line.request("c").partition(b"\r\n\r\n")[2]
        signature = hmac.new(line.source.secret.encode(), chunked, hashlib.sha256).hexdigest()
        head = f"POST {line.source.path} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\n"
        pieces = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(chunked), chunked)
        assert await line.status(head.encode() + pieces) == 202
        assert taken == [False, False], "the others did not come to the desk"
        assert await line.status(line.request("test", "closeloop-test: 1")) == 200
        assert await line.status(line.request("last", "Connection: close")) == 202
        assert await line.is_closed()


async def test_a_place_is_given_back_by_who_leaves_in_the_middle_of_a_body(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGEST_IN_FLIGHT", "1")
    async with running_ingest(database_url, tmp_path) as ingest, wire(ingest) as line:
        _, gone = await asyncio.open_connection("127.0.0.1", line.port)
        gone.write(line.request("gone")[:-5])
        await gone.drain()
        assert await eventually(lambda: full(line))
        gone.close()
        assert await eventually(lambda: free(line))


async def full(line: Wire) -> bool:
    return await fresh(line) == 503


async def free(line: Wire) -> bool:
    return await fresh(line) == 202


async def fresh(line: Wire) -> int:
    """The status of a delivery over a connection of its own."""
    other = Wire(line.port, line.source, *await asyncio.open_connection("127.0.0.1", line.port))
    try:
        return await other.status(other.request("fresh"))
    finally:
        other.writer.close()


async def test_an_idle_connection_ends(ingest: Ingest, taken: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with wire(ingest) as line:
        assert await line.status(line.request("last")) == 202
        assert taken[-1]
        assert await line.is_closed()


async def test_what_the_desk_has_is_answered_before_the_server_ends(
    ingest: Ingest, taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    send = BusOutlet.send

    async def held(outlet: BusOutlet, messages: Sequence[Message], workspace: str) -> None:
        await gate.wait()
        await send(outlet, messages, workspace)

    async with wire(ingest) as line:
        monkeypatch.setattr(BusOutlet, "send", held)
        del taken[:]
        line.writer.write(line.request("under way"))
        await eventually(lambda: taken == [True])
        # `served` ends the server on the way out; the bus takes the event after that has begun.
        asyncio.get_running_loop().call_later(0.5, gate.set)
        answer = asyncio.create_task(line.answer())
    assert (await answer)[0] == 202
    assert await line.is_closed()


async def test_a_bus_that_is_away_is_the_apps_to_tell(ingest: Ingest, taken: list[bool]) -> None:
    async with wire(ingest) as line:
        for close in reversed(ingest.service.close):
            if "producer" in getattr(close, "__qualname__", "").lower():
                await close()
        del taken[:]
        assert await line.status(line.request("lost")) == 503
        assert taken == [True]


async def test_a_body_in_tiny_chunks_is_kept_as_what_it_is(ingest: Ingest, taken: list[bool]) -> None:
    async with wire(ingest) as line:
        del taken[:]
        body = b'{"id":"tiny","channel":"store","text":"%s"}' % (b"x" * 60_000)
        signature = hmac.new(line.source.secret.encode(), body, hashlib.sha256).hexdigest()
        head = f"POST {line.source.path} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\nTransfer-Encoding: chunked"
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(body[at : at + 2]), body[at : at + 2]) for at in range(0, len(body), 2)
        )
        line.writer.write(head.encode() + b"\r\n\r\n")
        await line.writer.drain()
        tracemalloc.start()
        line.writer.write(chunks + b"0\r\n\r\n")
        assert (await line.answer())[0] == 202
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not taken
    assert peak < 1_500_000, peak
