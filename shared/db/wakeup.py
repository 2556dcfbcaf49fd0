"""LISTEN/NOTIFY as events: what waits for work is woken at the commit that makes it. A hint only: all poll as well."""

import asyncio
import contextlib

import asyncpg

from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import DATABASE_REACHABLE

log = get_logger(__name__)
_RECONNECT_SECONDS = 1.0
_CHECK_SECONDS = 10.0


class Wakeups:
    """One listening connection for a service. A component: `run` until `stop`."""

    def __init__(self, url: str, schema: str) -> None:
        self.name = f"{schema}-wakeups"
        self._url = url
        self._schema = schema
        self._events: dict[str, asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._reachable = DATABASE_REACHABLE.labels(schema)

    def on(self, what: str) -> asyncio.Event:
        """The event that is set by a NOTIFY on `<schema>_<what>`; ask for it before `run`. The waiter clears it."""
        return self._events.setdefault(f"{self._schema}_{what}", asyncio.Event())

    async def run(self) -> None:
        """Listen, and reconnect for as long as it takes: without us work is only found by the slower poll."""
        while not self._stopping.is_set():
            try:
                await self._listen()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.debug("wakeups_lost", schema=self._schema, error=type(error).__name__)
                self._reachable.set(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=3, command_timeout=5)
        self._reachable.set(1)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            for channel in self._events:
                await connection.add_listener(channel, self._wake)
            for event in self._events.values():
                event.set()  # what came while nobody listened
            ended = [asyncio.ensure_future(event.wait()) for event in (lost, self._stopping)]
            try:
                while not (await asyncio.wait(ended, timeout=_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                    await connection.execute("select 1")  # a dead network says nothing by itself
            finally:
                for waiting in ended:
                    waiting.cancel()
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=2)

    def _wake(self, _connection: object, _pid: int, channel: str, _payload: object) -> None:
        self._events[channel].set()

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()


async def wait(event: asyncio.Event, timeout_seconds: float) -> None:
    """Wait for a wake-up or the timeout, whichever is first, and clear the event."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_seconds)
    event.clear()
