"""A real server on a real socket: what only bytes on a wire can show."""

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, Header, Request, Response

from shared.bus import Bus
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.http import protocol, sse
from shared.http.app import BODY_LIMIT_BYTES, Readiness, create_app
from shared.runtime.feed import Feed
from shared.runtime.supervisor import HttpServer, listen
from shared.telemetry.metrics import REGISTRY
from tests.support.harness import feedback, running, send, started_bus
from tests.support.poll import eventually

HEAD = b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"


@asynccontextmanager
async def serving(*routers: APIRouter) -> AsyncIterator[int]:
    """A server with the routers; its port."""
    listener = listen("127.0.0.1", 0)
    server = HttpServer(create_app("test", "1", routers, Readiness({})), listener)
    async with running(server):
        await eventually(lambda: server._server.started)
        yield listener.getsockname()[1]
    listener.close()


def sizes() -> APIRouter:
    router = APIRouter()

    @router.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    return router


async def exchange(port: int, *pieces: bytes) -> bytes:
    """Send pieces, read all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return bytes(reader._buffer)  # type: ignore[attr-defined]
    finally:
        writer.close()


def chunked(size: int, piece: int = 32_768) -> list[bytes]:
    body = b"x" * piece
    whole = [b"%x\r\n%s\r\n" % (piece, body)] * (size // piece)
    rest = size % piece
    return [*whole, *([b"%x\r\n%s\r\n" % (rest, b"x" * rest)] if rest else []), b"0\r\n\r\n"]


async def test_the_body_limit_counts_chunks() -> None:
    head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(sizes()) as port:
        at_limit = await exchange(port, head, *chunked(BODY_LIMIT_BYTES))
        over = await exchange(port, head, *chunked(BODY_LIMIT_BYTES + 1))
    assert at_limit.startswith(b"HTTP/1.1 200")
    assert at_limit.endswith(str(BODY_LIMIT_BYTES).encode())
    assert over.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in over


async def test_an_endless_body_is_cut_and_costs_no_memory() -> None:
    piece = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    async with serving(sizes()) as port:
        tracemalloc.start()
        sent = 0
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(1_600):  # 100 MiB
                writer.write(piece)
                async with asyncio.timeout(5):
                    await writer.drain()
                sent += 65_536
        except (ConnectionError, TimeoutError):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        writer.transport.abort()
    assert sent < 20 * 1024 * 1024
    assert most < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"-1", b"400"),
        (b"abc", b"400"),
        (b"262145", b"413"),
        (b"99999999999999", b"413"),
        (b"5\r\nContent-Length: 6", b"400"),
    ],
)
async def test_a_length_that_cannot_be(length: bytes, status: bytes) -> None:
    async with serving(sizes()) as port:
        answer = await exchange(port, HEAD + b"Connection: close\r\nContent-Length: " + length + b"\r\n\r\n")
    assert answer.split(b" ")[1] == status


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Many: x\r\n" * 3_000 + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX-Endless: " + b"x" * 20_000,
    ],
    ids=["long", "many", "url", "endless"],
)
async def test_a_head_over_the_limit_ends_its_connection(head: bytes) -> None:
    async with serving() as port:
        answer = await exchange(port, *(head[start : start + 4_096] for start in range(0, len(head), 4_096)))
    assert answer.startswith(b"HTTP/1.1 431") or answer == b""


async def test_a_large_body_right_behind_its_head_is_no_large_head() -> None:
    body = b"x" * 200_000
    async with serving(sizes()) as port:
        answer = await exchange(port, HEAD + b"Connection: close\r\nContent-Length: 200000\r\n\r\n" + body)
        again = await exchange(
            port, HEAD + b"X-Fits: " + b"x" * 15_000 + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
    assert answer.endswith(b"200000")
    assert again.startswith(b"HTTP/1.1 200")


async def test_a_large_head_in_one_piece_is_refused_also_on_a_connection_that_was_used() -> None:
    large = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n"
    async with serving(sizes()) as port:
        assert (await exchange(port, large)).startswith(b"HTTP/1.1 431")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 1\r\n\r\nx")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(large)
        assert b"HTTP/1.1 431" in await reader.read()
        writer.close()


async def test_a_large_body_and_the_next_head_may_come_in_one_piece() -> None:
    first = HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000
    async with serving(sizes()) as port:
        answers = await exchange(port, first + HEAD, b"Connection: close\r\nContent-Length: 3\r\n\r\nabc")
    assert answers.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("start", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_head_that_never_ends_is_not_waited_for(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    async with serving() as port:
        assert await exchange(port, start) == b""


async def test_a_connection_serves_many_requests() -> None:
    async with serving(sizes()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for size in (0, 10, 100_000, 0):
            assert (await client.post("/size", content=b"x" * size)).json() == size


# Streams


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[Bus]:
    async with started_bus(database_url) as bus:
        yield bus


@asynccontextmanager
async def streaming(bus: Bus, name: str) -> AsyncIterator[tuple[int, Feed]]:
    feed = Feed(bus, FEEDBACK_RECEIVED)
    router = APIRouter()

    @router.get("/stream")
    async def stream(last_event_id: str | None = Header(None)) -> Response:
        return sse.event_stream(name, feed.stream(last_event_id, lambda event: event.workspace == "acme"))

    async with running(feed), serving(router) as port:
        await eventually(feed._ready.is_set)
        yield port, feed
        await feed.stop()


def clients(name: str) -> float:
    return REGISTRY.get_sample_value("closeloop_sse_clients", {"stream": name}) or 0.0


async def read_events(port: int, count: int, after: str | None = None) -> list[tuple[str, str]]:
    """(id, data) of the next events, then leave."""
    found: list[tuple[str, str]] = []
    headers = {} if after is None else {"Last-Event-ID": after}
    identifier = ""
    async with (
        httpx.AsyncClient(timeout=15) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/stream", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                identifier = line[4:]
            elif line.startswith("data: "):
                found.append((identifier, line[6:]))
                if len(found) == count:
                    break
    return found


async def test_a_stream_has_ids_to_come_back_with_and_lets_go_of_who_leaves(bus: Bus) -> None:
    async with streaming(bus, "resume") as (port, feed):
        reading = asyncio.create_task(read_events(port, 3))
        await eventually(lambda: feed._clients)
        assert clients("resume") == 1
        await send(bus, [feedback(n, customer="mina") for n in range(5)])
        first = await reading
        rest = await read_events(port, 2, after=first[-1][0])
        bodies = [body for _, body in [*first, *rest]]
        assert all(str(feedback(n).id) in body for n, body in enumerate(bodies))
        await eventually(lambda: clients("resume") == 0)
        await eventually(lambda: not feed._clients)


async def test_an_id_that_is_none_of_ours_is_a_problem(bus: Bus) -> None:
    async with streaming(bus, "invalid") as (port, _), httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/stream", headers={"Last-Event-ID": "nonsense"})
    assert (answer.status_code, answer.json()["faults"][0]["path"]) == (422, "Last-Event-ID")


async def test_a_quiet_stream_says_that_it_is_there(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_HEARTBEAT_SECONDS", 0.05)
    async with (
        streaming(bus, "quiet") as (port, _feed),
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/stream") as answer,
    ):
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(5)] == ["retry: 1000", "", ": still here", "", ": still here"]
        await send(bus, [feedback(1)])  # a heartbeat loses no event
        async for line in lines:
            if line.startswith("data: "):
                assert str(feedback(1).id) in line
                break


async def test_a_client_that_stops_reading_is_cut(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALLED_SECONDS", 0.5)
    async with streaming(bus, "stalled") as (port, feed):
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            stalled.connect(("127.0.0.1", port))
            stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: feed._clients)
            number = 0
            while clients("stalled") and number < 20_000:
                await send(bus, [feedback(n) for n in range(number, number + 500)])
                number += 500
                await eventually(lambda: all(queue.empty() for queue in feed._clients) or clients("stalled") == 0)
            await eventually(lambda: clients("stalled") == 0 and not feed._clients)
