"""The way out of ingest: the bus, and where that is another machine than the database, a spool for when it is away.

The spool is the outbox of ingest's own database; its relay ships it in order. As long as anything waits there, what is
accepted queues up behind it, in every process of ingest, so that a customer's events keep their order: a database that
is too busy to take more then means a 503, not a way past it. An event whose send was given up may be on the bus and in
the spool: it has one id, and consumers drop the repeat.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any

from shared.bus.port import Message, Producer
from shared.contracts.customer_purchased import CustomerPurchasedV1
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.invitation_changed import InvitationChangedV1
from shared.core.errors import NotFound, Unavailable
from shared.db.database import Database, is_outage
from shared.db.wakeup import wait
from shared.runtime.patience import pause
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import PUBLISHED, SPOOLED, SPOOLING, child

log = get_logger(__name__)
Received = Event[FeedbackReceivedV1] | Event[InvitationChangedV1] | Event[CustomerPurchasedV1]

# A healthy bus confirms within milliseconds; who waits longer gives its events to the spool.
BUS_SECONDS = 2.0
# A way that failed is not tried for so long: with both away the answer comes at once.
REST_SECONDS = 4.0
# The first to spool answers this much later: the other processes hear of it before its sender sends them the next.
_HEARD_SECONDS = 0.1
_LOOK_SECONDS = 0.5
_PACE_SECONDS = 0.02
# When no more than these wait and they are being shipped, the way to the bus is opened again.
_FEW = 1000
_HOLD_SECONDS = 1.0
_CHECK_SECONDS = 1.5
_SPOOL_CHANNEL = "select pg_notify('ingest_spool', '')"
_WAITING = """
select count(*) as waiting, coalesce(min(id), 0) as oldest
from (select id from outbox order by id limit :few) as first"""


class BusOutlet:
    """To the bus alone: for the single node, whose bus and database are one."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def send(self, messages: Sequence[Message], workspace: str) -> None:
        """Return when all are durable. Raises Unavailable: unknown; sending the same again is safe."""
        await self._producer.send(messages)
        for topic, count in Counter(map(attrgetter("topic"), messages)).items():
            child(PUBLISHED, topic).inc(count)


class SpoolingOutlet:
    """To the bus or the spool, whichever takes it. A component: `run` finds out when the spool is empty."""

    name = "ingest-spool"

    def __init__(self, bus: BusOutlet, database: Database, wakeup: asyncio.Event) -> None:
        self._bus = bus
        self._database = database
        self._wakeup = wakeup
        self._diverted = False
        # Something may wait in the spool: whatever else is away, nothing may go past it.
        self._behind = False
        self._storing = 0
        self._stored = 0
        self._oldest = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._rests_until: dict[str, float] = {}
        self._stopping = asyncio.Event()

    async def send(self, messages: Sequence[Message], workspace: str) -> None:
        """Return when all are durable. Raises Unavailable when neither way takes them. All are of one workspace: naming
        it to the database also bounds the wait for a frozen server."""
        await self._gate.wait()
        opened_before = self._diverted
        ways = (self._by_spool, self._by_bus) if opened_before else (self._by_bus, self._by_spool)
        for way in ways:
            if way == self._by_bus and self._behind:
                continue
            if time.monotonic() >= self._rests_until.get(way.__name__, 0.0) and await self._taken(
                way, messages, workspace
            ):
                if way == self._by_spool and not opened_before:
                    await asyncio.sleep(_HEARD_SECONDS)
                return
        raise Unavailable("neither the bus nor the database is in reach; send it again in a moment")

    async def _taken(self, way: Any, messages: Sequence[Message], workspace: str) -> bool:
        try:
            await way(messages, workspace)
        except Exception as error:
            if not (isinstance(error, Unavailable | NotFound) or is_outage(error)):
                raise
            log.warning("way_out_closed", way=way.__name__, error=type(error).__name__)
            self._rests_until[way.__name__] = time.monotonic() + REST_SECONDS
            if way == self._by_bus:
                self._divert(True)  # some of it may be on the way: what comes next must not overtake the rest
            return False
        return True

    async def _by_bus(self, messages: Sequence[Message], workspace: str) -> None:
        async with asyncio.timeout(BUS_SECONDS):
            await self._bus.send(messages, workspace)

    async def _by_spool(self, messages: Sequence[Message], workspace: str) -> None:
        self._storing += 1
        try:
            async with self._database.unit_of_work(workspace) as uow:
                for message in messages:
                    uow.forward(message)
                await uow.execute(_SPOOL_CHANNEL)
                self._behind = True  # from here on the commit may have happened
        finally:
            self._storing -= 1
            self._stored += 1
        SPOOLED.inc(len(messages))

    def _divert(self, diverted: bool) -> None:
        if diverted != self._diverted:
            log.warning("spool_opened" if diverted else "spool_empty")
        self._diverted = diverted
        SPOOLING.set(diverted)

    async def run(self) -> None:
        """Watch the spool until `stop`."""
        while not self._stopping.is_set():
            await wait(self._wakeup, _LOOK_SECONDS)
            with contextlib.suppress(Unavailable, TimeoutError):  # what is accepted meanwhile finds the open way
                await self._look()
            await pause(_PACE_SECONDS, self._stopping)

    async def _look(self) -> None:
        waiting, oldest = await self._waiting()
        shipping, self._oldest = waiting and self._oldest < oldest, oldest
        self._behind = bool(waiting)
        self._divert(self._behind)
        if shipping and waiting < _FEW:
            await self._empty()

    async def _waiting(self) -> tuple[int, int]:
        """(how many events wait, at most _FEW; the number of the oldest)."""
        stored = self._stored
        async with asyncio.timeout(_CHECK_SECONDS), self._database.glance() as reader:
            found = (await reader.all(_WAITING, {"few": _FEW}))[0]
        # What was stored while we asked may not be in the answer.
        return found.waiting + self._storing + self._stored - stored, found.oldest

    async def _empty(self) -> None:
        """Hold what comes in for the moment that the relay needs for the rest: under a steady load the spool would
        never be empty. Each process does so by itself; their holds are long enough to overlap."""
        self._gate.clear()
        try:
            until = time.monotonic() + _HOLD_SECONDS
            while self._diverted and time.monotonic() < until and not self._stopping.is_set():
                await asyncio.sleep(_PACE_SECONDS)
                self._behind = (await self._waiting())[0] > 0
                self._divert(self._behind)
        finally:
            self._gate.set()

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
        self._wakeup.set()

    def check(self, bus: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[str | None]]:
        """A check for readiness: which way is open. Raises Unavailable when neither is."""

        async def open_way() -> str | None:
            bus_open, database_open = await asyncio.gather(_passes(bus), _passes(self._database.check))
            if not (bus_open or database_open):
                raise Unavailable("neither the bus nor the database is in reach")
            if not bus_open:
                return "the bus is out of reach: accepted events wait in the database"
            if not database_open and self._behind:
                raise Unavailable("events wait in a database that is out of reach: nothing may go past them")
            if not database_open:
                return "the database is out of reach: accepted events go to the bus alone"
            return "the spool is being shipped" if self._diverted else None

        return open_way


async def _passes(check: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:
        if not (isinstance(error, Unavailable | NotFound) or is_outage(error)):
            raise
        return False
    return True
