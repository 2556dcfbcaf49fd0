"""A TCP proxy that misbehaves on command, between our services and Kafka or PostgreSQL.

Kafka's brokers tell clients where to go, so a client would leave the proxy after its first question: `KafkaProxies`
puts the proxies' ports into the answers. It needs no knowledge of the protocol but its frames: an address is a short
string and a number, and the proxy's has the same length.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

HOST = "127.0.0.1"
_CHUNK = 64 * 1024
_MAX_FRAME = 256 * 1024 * 1024
Mode = Literal["open", "refuse", "black hole"]
Upstream = Callable[[], int]


class Proxy:
    """One listening port in front of one upstream port on loopback. Faults hold for connections old and new."""

    def __init__(self, upstream: Upstream, moved: Callable[[], Mapping[int, int]] | None = None) -> None:
        """`upstream` is asked at every connection; `moved` maps ports to put others in their place (Kafka)."""
        self.port = 0
        self.latency_seconds = 0.0
        self.connections = 0
        self.cuts = 0
        self._upstream = upstream
        self._moved = moved
        self._mode: Mode = "open"
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut_after: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> "Proxy":
        """Listen."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._flowing.set()
        self.reset()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    # faults

    def heal(self) -> None:
        """As a wire again. What a black hole had swallowed stays lost: its connections are reset."""
        if self._mode == "black hole":
            self.reset()
        self._mode = "open"
        self._cut_after = None
        self.latency_seconds = 0.0
        self._flowing.set()

    def reset(self) -> None:
        """Cut every connection with a RST; new ones are served."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Reset every connection, also new ones."""
        self._mode = "refuse"
        self.reset()

    def black_hole(self) -> None:
        """Accept and keep connections, and pass nothing on: a cable pulled out."""
        self._mode = "black hole"
        self._flowing.clear()

    def cut_after(self, bytes_down: int) -> None:
        """Reset the connection whose answers, over all connections together, come to so many bytes from now: in the
        middle of an answer as often as not. Once."""
        self._cut_after = bytes_down

    # the wire

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        far_writer: asyncio.StreamWriter | None = None
        try:
            if self._mode == "refuse":
                return
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection(HOST, self._upstream())
            self._writers.add(far_writer)
            ways = (self._up(reader, far_writer), self._down(far_reader, writer))
            pumps = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in (writer, far_writer):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(_CHUNK):
                await self._pass(data, writer)

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await (reader.read(_CHUNK) if self._moved is None else self._frame(reader)):
                if self._cut_after is not None:
                    self._cut_after -= len(data)
                    if self._cut_after <= 0:
                        kept = data[: len(data) + self._cut_after]
                        self._cut_after = None
                        self.cuts += 1
                        writer.write(kept)
                        return
                await self._pass(data, writer)

    async def _frame(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readexactly(4)
        (size,) = struct.unpack(">i", head)
        if not 0 <= size <= _MAX_FRAME:
            raise OSError(f"not a frame of Kafka: {size} bytes")
        assert self._moved is not None
        return head + moved(await reader.readexactly(size), self._moved())

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        await self._flowing.wait()
        writer.write(data)
        await writer.drain()


def moved(answer: bytes, ports: Mapping[int, int]) -> bytes:
    """Put other ports of loopback into an answer of a broker; addresses are strings of both kinds of the protocol."""
    name = HOST.encode()
    if name not in answer:
        return answer
    for length in (struct.pack(">h", len(name)), bytes([len(name) + 1])):
        for old, new in ports.items():
            answer = answer.replace(length + name + struct.pack(">i", old), length + name + struct.pack(">i", new))
    return answer


class KafkaProxies:
    """A proxy per broker; through them a client meets the whole cluster and never leaves them."""

    def __init__(self, brokers: int, ports: Callable[[], Sequence[int]]) -> None:
        """`ports` of the brokers, asked when they are needed: a cluster may not have chosen them yet."""
        self._ports = ports
        self.each = [Proxy(lambda n=n: ports()[n], self._moved) for n in range(brokers)]  # type: ignore[misc]

    def _moved(self) -> Mapping[int, int]:
        return {port: proxy.port for port, proxy in zip(self._ports(), self.each, strict=True)}

    @property
    def url(self) -> str:
        """BUS_URL through the proxies."""
        return "kafka://" + ",".join(f"{HOST}:{proxy.port}" for proxy in self.each)

    def all(self, fault: Callable[[Proxy], None]) -> None:
        """The same fault to every proxy: `proxies.all(Proxy.reset)`."""
        for proxy in self.each:
            fault(proxy)


@asynccontextmanager
async def started(*proxies: Proxy) -> AsyncIterator[None]:
    """Proxies for the length of the block."""
    try:
        for proxy in proxies:
            await proxy.start()
        yield
    finally:
        for proxy in proxies:
            await proxy.stop()
