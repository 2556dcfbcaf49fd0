"""The producer of the Postgres bus: concurrent sends share an append, because a commit costs more than its messages."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

from shared.bus.partition import partition_of
from shared.bus.port import BusUnavailable, Message, message_size, refuse_oversized
from shared.bus.postgres.link import Link, Unreached, ended
from shared.bus.postgres.log import Catalog, pack_headers
from shared.telemetry.logging import get_logger

SEND_SECONDS = 15.0
_STOP_SECONDS = 5.0
_BATCH_MESSAGES = 5_000
_BATCH_BYTES = 4 * 1024 * 1024
# Beyond this many bytes on the way, senders wait: memory stays bounded when the database is slow.
_WAITING_BYTES = 32 * 1024 * 1024
# Small appends start at most this often: a lone message goes at once, a stream of them shares commits.
_PACE_SECONDS = 0.002
_PACED_MESSAGES = 100
# A restart of the server takes about this long; whoever calls has better things to do than to wait for a longer outage.
_RECONNECT_SECONDS = 2.0
_RETRY_SECONDS = 0.05

_APPEND = "select bus.append($1::int[], $2::bytea[], $3::bytea[], $4::bytea[])"
_log = get_logger(__name__)
_cached_partition = lru_cache(maxsize=65_536)(partition_of)  # a customer's key comes again and again


class _Batch:
    """Messages of one append, column by column; `outcome` gets None when they are durable, else the reason."""

    __slots__ = ("bodies", "bytes", "heads", "keys", "outcome", "partitions")

    def __init__(self) -> None:
        self.partitions: list[int] = []
        self.keys: list[bytes] = []
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.bytes = 0
        self.outcome: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def full(self) -> bool:
        return len(self.keys) >= _BATCH_MESSAGES or self.bytes >= _BATCH_BYTES

    def done(self, reason: str | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(reason)


class PostgresProducer:
    """See port.Producer. One append is in flight at a time, so what is sent later is never durable earlier."""

    def __init__(self, link: Link, catalog: Catalog) -> None:
        self._link = link
        self._catalog = catalog
        self._batches: deque[_Batch] = deque()
        self._waiting_bytes = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """See port.Producer."""
        await self._link.fetch("select 1")
        if self._flusher is None:
            self._stopping = False
            self._flusher = asyncio.create_task(self._flush_forever(), name="bus producer")

    async def send(self, messages: Sequence[Message]) -> None:
        """See port.Producer."""
        refuse_oversized(messages)
        if self._flusher is None or self._stopping:
            raise BusUnavailable("the producer is not started, or stopped")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                for topic in {message.topic for message in messages}:
                    await self._catalog.ids(topic)
                for batch in await self._enqueue(messages):
                    # Shielded: the append belongs to everybody in it, one caller's cancellation ends nothing.
                    if (reason := await asyncio.shield(batch.outcome)) is not None:
                        raise BusUnavailable(reason)
        except TimeoutError:
            raise BusUnavailable(f"the Postgres bus did not confirm within {SEND_SECONDS:g} s") from None

    async def stop(self) -> None:
        """See port.Producer."""
        self._stopping = True
        flusher, self._flusher = self._flusher, None
        if flusher is None:
            return
        self._work.set()
        await asyncio.wait({flusher}, timeout=_STOP_SECONDS)
        await ended(flusher)
        self._refuse_waiting("the producer was stopped before the bus confirmed")

    async def _enqueue(self, messages: Sequence[Message]) -> list[_Batch]:
        """Add to the batch that waits (or to new ones); no await between messages unless memory is short."""
        used: list[_Batch] = []
        for message in messages:
            while self._waiting_bytes > _WAITING_BYTES:
                self._room.clear()
                await self._room.wait()
            if not self._batches or self._batches[-1].full():
                self._batches.append(_Batch())
            batch = self._batches[-1]
            if not used or used[-1] is not batch:
                used.append(batch)
            ids = self._catalog.known[message.topic]
            batch.partitions.append(ids[_cached_partition(message.key, len(ids))])
            batch.keys.append(message.key)
            batch.bodies.append(message.value)
            batch.heads.append(pack_headers(message.headers))
            size = message_size(message)
            batch.bytes += size
            self._waiting_bytes += size
            self._work.set()
        return used

    async def _flush_forever(self) -> None:
        clock = asyncio.get_running_loop().time
        last = 0.0
        while not (self._stopping and not self._batches):
            await self._work.wait()
            self._work.clear()
            while self._batches:
                if len(self._batches[0].keys) < _PACED_MESSAGES and (rest := last + _PACE_SECONDS - clock()) > 0:
                    await asyncio.sleep(rest)
                last = clock()
                await self._flush(self._batches.popleft())

    async def _flush(self, batch: _Batch) -> None:
        reason: str | None = "the append was interrupted"
        try:
            await self._append(batch)
            reason = None
        except Unreached as error:
            reason = error.detail
            self._refuse_waiting(error.detail)  # certainly not written, and the next would fare no better
        except BusUnavailable as error:
            reason = error.detail
        except Exception as error:
            _log.exception("bus_append_failed")
            reason = f"the Postgres bus refused an append: {error}"
        finally:
            self._release(batch)
            batch.done(reason)

    async def _append(self, batch: _Batch) -> None:
        """Retries only what was certainly not run: an append of unknown outcome may stand in the log already."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _RECONNECT_SECONDS
        while True:
            try:
                await self._link.fetch(_APPEND, batch.partitions, batch.keys, batch.bodies, batch.heads)
                return
            except Unreached:
                if clock() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)

    def _release(self, batch: _Batch) -> None:
        self._waiting_bytes -= batch.bytes
        self._room.set()

    def _refuse_waiting(self, reason: str) -> None:
        while self._batches:
            batch = self._batches.popleft()
            self._release(batch)
            batch.done(reason)
