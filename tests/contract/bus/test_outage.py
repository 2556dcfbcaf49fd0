"""The bus away: a clear error in time, and everything goes on when it is back."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator

import pytest

from shared.bus.connect import connect
from shared.bus.port import BusUnavailable, Message, Producer
from shared.bus.postgres import PostgresBus
from shared.db.embedded import EmbeddedPostgres
from shared.db.embedded_host import alive
from shared.db.migrate import upgrade
from tests.support.bus import Ledger, Listener, member, new_topic, producing, started
from tests.support.poll import eventually
from tests.support.postgres import running_server

SEND_SECONDS = 15


@pytest.fixture
async def breakable() -> AsyncIterator[EmbeddedPostgres]:
    """A server of the test's own, with the bus in it."""
    with running_server() as server:
        await asyncio.to_thread(upgrade, server.url(), ["bus"])
        yield server


def crash(server: EmbeddedPostgres) -> None:
    """pg_ctl stop -m immediate: no goodbye, the next start recovers."""
    os.kill(server.pid, signal.SIGQUIT)


@pytest.mark.parametrize("url", ["postgres", pytest.param("kafka", marks=pytest.mark.kafka)])
async def test_an_unreachable_bus_says_so_in_time(url: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = nobody.getsockname()[1]
        bus = connect(f"kafka://127.0.0.1:{port}" if url == "kafka" else url, f"postgresql://x@127.0.0.1:{port}/x")
        began = time.monotonic()
        with pytest.raises(BusUnavailable):
            await bus.start()
        with pytest.raises(BusUnavailable):
            await bus.producer().start()
        await bus.stop()
        assert time.monotonic() - began < 2 * SEND_SECONDS


async def sends(producer: Producer, message: Message) -> bool:
    """Whether the message was confirmed."""
    try:
        await producer.send([message])
    except BusUnavailable:
        return False
    return True


async def test_a_crash_of_the_database_heals(breakable: EmbeddedPostgres, name: str) -> None:
    ledger = Ledger()
    async with started(PostgresBus(breakable.url())) as bus, producing(bus) as producer:
        topic = await new_topic(bus, name, 3)
        async with member(bus, name, topic, ledger):
            assert await sends(producer, Message(topic, b"k", b"before"))
            await eventually(lambda: ledger.values() == [b"before"])
            dead = breakable.pid
            crash(breakable)
            await eventually(lambda: not alive(dead))
            began = time.monotonic()
            outcomes = await asyncio.gather(*(sends(producer, Message(topic, b"k", b"lost")) for _ in range(50)))
            assert not any(outcomes)
            with pytest.raises(BusUnavailable):
                await bus.offsets(topic)
            assert time.monotonic() - began < SEND_SECONDS
            await asyncio.to_thread(breakable.start)
            await eventually(lambda: sends(producer, Message(topic, b"k", b"after")), timeout=20)
            await eventually(lambda: b"after" in ledger.values(), timeout=20)
    assert ledger.gaps == 0
    assert ledger.values()[0] == b"before"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the server's processes in /proc")
async def test_a_frozen_database_is_an_outage_and_nothing_hangs(breakable: EmbeddedPostgres, name: str) -> None:
    bus = PostgresBus(breakable.url())
    await bus.start()
    topic = await new_topic(bus, name, 1)
    producer = bus.producer()
    await producer.start()
    await producer.send([Message(topic, b"k", b"v")])
    consumer = bus.consumer(name, [topic], Listener())
    await consumer.start()
    frozen = [breakable.pid, *children(breakable.pid)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert not await sends(producer, Message(topic, b"k", b"unknown"))
        assert time.monotonic() - began < SEND_SECONDS
        async with asyncio.timeout(20):
            await consumer.stop()
            await producer.stop()
            await bus.stop()
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """Processes that `pid` started."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]
