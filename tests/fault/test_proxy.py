"""The proxy's faults are faults: each is seen from both sides of the wire."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.bus.connect import connect
from shared.bus.port import BusUnavailable
from shared.contracts.topics import Topic
from tests.fault.proxy import KafkaProxies, Proxy, moved, started
from tests.support.bus import started as started_bus


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    async with echo() as port:
        proxy = Proxy(lambda: port)
        async with started(proxy):
            yield proxy


class Client:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def said(self, text: bytes, timeout: float = 5) -> bytes:
        self.writer.write(text)
        async with asyncio.timeout(timeout):
            return await self.reader.readexactly(len(text))


async def test_it_passes_bytes_both_ways() -> None:
    async with proxied() as proxy, Client(proxy) as client:
        assert await client.said(b"x" * 100_000) == b"x" * 100_000


async def test_reset_cuts_old_connections_and_serves_new_ones() -> None:
    async with proxied() as proxy, Client(proxy) as old:
        await old.said(b"hello")
        proxy.reset()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await old.said(b"again")
        async with Client(proxy) as new:
            assert await new.said(b"again") == b"again"


async def test_refuse_holds_until_it_is_healed() -> None:
    async with proxied() as proxy:
        proxy.refuse()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with Client(proxy) as client:
                await client.said(b"hello")
        proxy.heal()
        async with Client(proxy) as client:
            assert await client.said(b"hello") == b"hello"


async def test_a_black_hole_keeps_connections_and_gives_nothing_back() -> None:
    async with proxied() as proxy, Client(proxy) as old:
        await old.said(b"hello")
        proxy.black_hole()
        with pytest.raises(TimeoutError):
            await old.said(b"lost", timeout=0.2)
        async with Client(proxy) as new:  # accepted, as by a host that has gone silent later
            with pytest.raises(TimeoutError):
                await new.said(b"lost", timeout=0.2)
        proxy.heal()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await old.said(b"again")
        async with Client(proxy) as client:
            assert await client.said(b"hello") == b"hello"


async def test_an_answer_is_cut_after_so_many_bytes_once() -> None:
    async with proxied() as proxy:
        async with Client(proxy) as client:
            await client.said(b"0123456789")
            proxy.cut_after(4)
            client.writer.write(b"abcdefgh")
            assert await client.reader.read() == b"abcd"
        async with Client(proxy) as client:
            assert await client.said(b"0123456789") == b"0123456789"
        assert proxy.cuts == 1


async def test_latency_is_added_each_way() -> None:
    async with proxied() as proxy, Client(proxy) as client:
        proxy.latency_seconds = 0.1
        began = asyncio.get_running_loop().time()
        await client.said(b"hello")
        assert asyncio.get_running_loop().time() - began >= 0.2


def test_a_broker_s_address_is_replaced_in_both_kinds_of_strings() -> None:
    for length in (b"\x00\x09", b"\x0a"):
        answer = b"..." + length + b"127.0.0.1" + struct.pack(">i", 9092) + b"..." + struct.pack(">i", 9092)
        there = moved(answer, {9092: 19092, 9093: 19093})
        assert there == b"..." + length + b"127.0.0.1" + struct.pack(">i", 19092) + b"..." + struct.pack(">i", 9092)


@pytest.mark.kafka
async def test_a_client_of_kafka_never_leaves_the_proxy(kafka_bootstrap: str) -> None:
    """With the proxy refusing, nothing gets through: the client was not sent past it."""
    proxies = KafkaProxies(1, lambda: [int(kafka_bootstrap.rpartition(":")[2])])
    async with started(*proxies.each):
        bus = connect(proxies.url, "postgresql://nowhere")
        async with started_bus(bus):
            await bus.create_topics([Topic("proxied", owner="test", key="test", partitions=2)])
            assert await bus.offsets("proxied") == {0: (0, 0), 1: (0, 0)}
            proxies.all(Proxy.refuse)
            with pytest.raises(BusUnavailable):
                await bus.offsets("proxied")
