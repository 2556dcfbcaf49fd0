"""The connections of the Postgres bus: a small pool with timeouts everywhere, and one connection that listens."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg

from shared.bus.port import BusUnavailable
from shared.core.errors import CloseloopError
from shared.telemetry.logging import get_logger

RECORDS = "bus_record"  # NOTIFY channel; the payload is a topic
GROUPS = "bus_group"  # the payload is a consumer group
_CONNECT_SECONDS = 3.0
_COMMAND_SECONDS = 5.0
_ACQUIRE_SECONDS = 1.0
_CLOSE_SECONDS = 3.0
_LISTEN_CHECK_SECONDS = 10.0
_POOL_SIZE = 8
_CANCEL_ATTEMPTS = 3
_CANCEL_SECONDS = 1.0
# sqlstate classes: connection, transaction rollback, resources, object state (locks), operator intervention, system
_OUTAGE_CLASSES = ("08", "40", "53", "55", "57", "58")

_CONNECTION_ERRORS = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError)

_log = get_logger(__name__)
Wake = Callable[[], None]


class Unreached(BusUnavailable):
    """No connection could be had, so the statement was certainly not run."""


def _is_outage(error: Exception) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "")[:2] in _OUTAGE_CLASSES
    return isinstance(error, _CONNECTION_ERRORS) and not isinstance(error, asyncpg.DataError)


@contextlib.contextmanager
def outage(kind: type[BusUnavailable] = BusUnavailable) -> Iterator[None]:
    """Turn what asyncpg raises when the server is away, frozen or restarting into `kind`; let bugs through."""
    try:
        yield
    except Exception as error:
        if not _is_outage(error):
            raise
        raise kind(f"the Postgres bus does not answer: {str(error) or type(error).__name__}") from error


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel and wait, but not for ever: a library that swallows a cancellation is told once more."""
    running = set(tasks)
    for _ in range(_CANCEL_ATTEMPTS):
        for task in running:
            task.cancel()
        if not running:
            return
        _, running = await asyncio.wait(running, timeout=_CANCEL_SECONDS)


async def _keep(_: object) -> None:
    """Our statements leave no session state, so a connection needs no reset (a round trip) when it is given back."""


class Link:
    """Pool and listener of one bus. Reconnects by itself; while the server is away its calls raise BusUnavailable."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._wakes: defaultdict[tuple[str, str], set[Wake]] = defaultdict(set)
        self._options: dict[str, Any] = {
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _COMMAND_SECONDS,
            "server_settings": {"application_name": "closeloop-bus", "jit": "off"},
        }

    async def open(self) -> None:
        """Connect; a second call does nothing. Raises BusUnavailable, CloseloopError where the schema is missing."""
        if self._pool is not None:
            return
        pool = asyncpg.create_pool(self._url, min_size=0, max_size=_POOL_SIZE, reset=_keep, **self._options)
        with outage():
            async with asyncio.timeout(_CONNECT_SECONDS + _COMMAND_SECONDS):
                await pool
                migrated = await pool.fetchval("select to_regclass('bus.record') is not null")
        if not migrated:
            pool.terminate()
            raise CloseloopError("the database has no bus schema; run `closeloop migrate` first")
        self._pool = pool
        self._listener = asyncio.create_task(self._listen(), name="bus listener")

    async def close(self) -> None:
        """Close everything; a server that does not answer is left alone after a moment."""
        if self._listener is not None:
            await ended(self._listener)
            self._listener = None
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await pool.close()
            except Exception as error:
                _log.warning("bus_close_forced", reason=type(error).__name__)
                pool.terminate()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement in its own transaction. Raises Unreached (not run) or BusUnavailable (unknown)."""
        pool = self._pool
        if pool is None:
            raise Unreached("the bus is not started, or stopped")
        with outage(Unreached):
            connection = await pool.acquire(timeout=_ACQUIRE_SECONDS)
        with outage():
            try:
                return await connection.fetch(query, *arguments)
            finally:
                # A failure to give it back must not replace a cancellation, which a loop would then outlive.
                with contextlib.suppress(*_CONNECTION_ERRORS):
                    await pool.release(connection)

    def on_notify(self, channel: str, payload: str, wake: Wake) -> None:
        """Call `wake` on a notification, and when notifications may have been missed."""
        self._wakes[channel, payload].add(wake)

    def off_notify(self, channel: str, payload: str, wake: Wake) -> None:
        """Undo `on_notify`."""
        self._wakes[channel, payload].discard(wake)

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for wake in tuple(self._wakes.get((channel, str(payload)), ())):
            wake()

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            try:
                with outage():
                    connection = await asyncpg.connect(self._url, **self._options)
            except BusUnavailable:
                await asyncio.sleep(pause)
                pause = min(2.0, pause * 2)
                continue
            pause = 0.1
            try:
                with outage():
                    await self._listen_on(connection)
            except BusUnavailable as error:
                _log.warning("bus_listener_lost", reason=error.detail)
            finally:
                connection.terminate()

    async def _listen_on(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        for channel in (RECORDS, GROUPS):
            await connection.add_listener(channel, self._heard)
        for wakes in tuple(self._wakes.values()):
            for wake in tuple(wakes):
                wake()
        while not closed.is_set():
            try:
                async with asyncio.timeout(_LISTEN_CHECK_SECONDS):
                    await closed.wait()
            except TimeoutError:
                await connection.fetchval("select 1")  # a dead network says nothing by itself
