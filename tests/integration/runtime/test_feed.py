"""Feeds: from now on, or from any id that was ever given out, to whichever process; nothing missed, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from shared.bus import Bus
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import InvalidInput
from shared.runtime import feed as feed_module
from shared.runtime.feed import Feed
from tests.support.harness import feedback, running, send
from tests.support.poll import eventually

Stream = AsyncIterator[tuple[str, Event[Any]]]


def everything(_: Event[Any]) -> bool:
    return True


def of(workspace: str) -> Callable[[Event[Any]], bool]:
    return lambda event: event.workspace == workspace


@asynccontextmanager
async def live(bus: Bus) -> AsyncIterator[Feed]:
    feed = Feed(bus, FEEDBACK_RECEIVED)
    async with running(feed):
        await eventually(feed._ready.is_set)
        yield feed


class Client:
    """Collects a stream as a browser would: what it got, and the id to come back with."""

    def __init__(self, stream: Stream) -> None:
        self.got: list[Event[Any]] = []
        self.last: str | None = None
        self.task = asyncio.create_task(self._read(stream))

    async def _read(self, stream: Stream) -> None:
        async with aclosing(stream):  # type: ignore[type-var]
            async for self.last, event in stream:
                self.got.append(event)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def watching(feed: Feed, after: str | None = None, wanted: Any = everything) -> AsyncIterator[Client]:
    known = len(feed._clients)
    client = Client(feed.stream(after, wanted))
    await eventually(lambda: len(feed._clients) > known)
    try:
        yield client
    finally:
        await client.leave()


def events_of(*numbers: int) -> list[Event[Any]]:
    return [feedback(n, customer=f"customer {n % 7}") for n in numbers]


def numbers_of(client: Client, events: list[Event[Any]]) -> list[int]:
    number = {event.id: n for n, event in enumerate(events)}
    return sorted(number[event.id] for event in client.got)


async def test_from_now_on(bus: Bus) -> None:
    await send(bus, events_of(0, 1))
    async with live(bus) as feed, watching(feed) as client:
        await send(bus, events_of(2, 3))
        await eventually(lambda: len(client.got) == 2)
    assert {event.id for event in client.got} == {event.id for event in events_of(2, 3)}


async def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(bus: Bus) -> None:
    """Over reconnects to the same feed, to another process's, and to one that starts later."""
    events = events_of(*range(60))
    got: list[Event[Any]] = []
    async with live(bus) as one:
        async with watching(one) as client:
            await send(bus, events[:20])
            await eventually(lambda: len(client.got) == 20)
        got += client.got
        await send(bus, events[20:30])
        async with watching(one, client.last) as again:
            await send(bus, events[30:35])
            await eventually(lambda: len(again.got) == 15)
        got += again.got
        async with live(bus) as other, watching(other, again.last) as elsewhere:
            await send(bus, events[35:40])
            await eventually(lambda: len(elsewhere.got) == 5)
        got += elsewhere.got
    await send(bus, events[40:50])
    async with live(bus) as later, watching(later, elsewhere.last) as last:
        await send(bus, events[50:])
        await eventually(lambda: len(last.got) == 20)
        got += last.got
    assert sorted(event.id for event in got) == sorted(event.id for event in events)


async def test_every_id_in_the_middle_is_a_place_to_go_on_from(bus: Bus) -> None:
    events = events_of(*range(12))
    await send(bus, events)
    async with live(bus) as feed:
        ids: list[str] = []
        got: list[Event[Any]] = []
        async with aclosing(feed.stream("0.0", everything)) as stream:  # type: ignore[type-var]
            async for identifier, event in stream:
                ids.append(identifier)
                got.append(event)
                if len(got) == 12:
                    break
        for n in (0, 5, 10):
            async with watching(feed, ids[n]) as client:
                await eventually(lambda n=n, client=client: len(client.got) == 11 - n)  # type: ignore[misc]
                assert [event.id for event in client.got] == [event.id for event in got[n + 1 :]]


async def test_what_is_wanted_is_the_callers_to_say(bus: Bus) -> None:
    ours = [feedback(n, workspace="acme") for n in range(5)]
    theirs = [feedback(n, workspace="globex") for n in range(5)]
    async with live(bus) as feed, watching(feed, "0.0", of("acme")) as client:
        await send(bus, [*theirs, *ours])
        await eventually(lambda: len(client.got) == 5)
    assert {event.workspace for event in client.got} == {"acme"}


async def test_a_client_that_is_too_slow_is_cut_and_finds_all_of_it_when_it_comes_back(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_QUEUE", 10)
    events = events_of(*range(50))
    async with live(bus) as feed:
        stream = feed.stream(None, everything)
        first = asyncio.ensure_future(anext(stream))
        await eventually(lambda: feed._clients)
        await send(bus, events[:1])
        last, event = await first
        got = [event]
        await send(bus, events[1:])  # it does not read
        await eventually(lambda: not feed._clients)
        async for last, event in stream:  # noqa: B007 - it is used below
            got.append(event)
        assert len(got) < 50
        async with watching(feed, last) as client:
            await eventually(lambda: len(got) + len(client.got) >= 50)
    assert sorted(event.id for event in [*got, *client.got]) == sorted(event.id for event in events)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "0",
        "0.",
        ".0",
        "0.1-",
        "-0.1",
        "24.0",
        "0.-1",
        "-1.1",
        "0.1.2",
        "٣.٣",
        "0.1 ",
        "0.1\n",
        "1_0.0",
        "9" * 5000,
    ],
)
async def test_what_is_not_an_id_is_refused_before_anything_is_answered(bus: Bus, text: str) -> None:
    with pytest.raises(InvalidInput, match="Last-Event-ID"):
        Feed(bus, FEEDBACK_RECEIVED).stream(text, everything)


async def test_an_id_from_beyond_the_log_goes_on_at_its_end(bus: Bus) -> None:
    """As after a restore: the client must not wait for the log to catch up with its id."""
    await send(bus, events_of(0))
    beyond = "-".join(f"{partition}.{10**9}" for partition in range(24))
    async with live(bus) as feed, watching(feed, beyond) as client:
        await send(bus, events_of(1))
        await eventually(lambda: len(client.got) == 1)


async def test_an_empty_id_is_no_id(bus: Bus) -> None:
    await send(bus, events_of(0))
    async with live(bus) as feed, watching(feed, "") as client:
        await send(bus, events_of(1))
        await eventually(lambda: len(client.got) == 1)
    assert client.got[0].id == events_of(1)[0].id


async def test_a_stop_ends_streams_also_those_that_came_too_early_or_too_late(bus: Bus) -> None:
    feed = Feed(bus, FEEDBACK_RECEIVED)
    early = Client(feed.stream(None, everything))
    async with running(feed):
        await eventually(feed._ready.is_set)
        open_one = Client(feed.stream(None, everything))
        await eventually(lambda: len(feed._clients) == 2)
    for client in (early, open_one, Client(feed.stream(None, everything))):
        await asyncio.wait_for(client.task, 2)
    unready = Feed(bus, FEEDBACK_RECEIVED)
    waiting = Client(unready.stream(None, everything))
    await unready.stop()
    await asyncio.wait_for(waiting.task, 2)
    assert not feed._clients
