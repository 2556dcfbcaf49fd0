"""What aiokafka's clients need from outside: a start that meets a broker, a pace in outages, an end in bounded time.

Some of it needs their private parts; this file knows them, and tests/integration/kafka/test_outages.py notices when
they move.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from shared.telemetry.logging import get_logger

log = get_logger(__name__)

_STEP_SECONDS = 1.0
_PACE_SECONDS = 0.05
_FAILED_PACE_SECONDS = 0.25
_MEET_SECONDS = 0.1


async def meet(client: Any, start: Coroutine[Any, Any, None]) -> None:
    """Start what uses this AIOKafkaClient, and wait until it knows a broker: one that is just coming up names none,
    and a group or a producer that begins then stumbles."""
    _pace(client)
    await start
    while not client.cluster.brokers():
        await client.force_metadata_update()
        await asyncio.sleep(_MEET_SECONDS)


def _pace(client: Any) -> None:
    """Without a leader in sight, producer and fetcher ask for metadata in a loop without a pause: thousands of
    connections a second for as long as the broker is down."""
    update, loop, due = client._metadata_update, asyncio.get_running_loop(), 0.0

    async def paced(*arguments: Any) -> bool:
        nonlocal due
        await asyncio.sleep(max(0.0, due - loop.time()))
        updated = False
        try:
            updated = bool(await update(*arguments))
        finally:
            due = loop.time() + (_PACE_SECONDS if updated else _FAILED_PACE_SECONDS)
        return updated

    client._metadata_update = paced


async def ended_in_time(stop: Coroutine[Any, Any, None], timeout_seconds: float) -> bool:
    """Whether a client's own `stop()` ended well in time; else the client is to be abandoned (T4: it may wait for the
    broker for ever)."""
    stopping = asyncio.get_running_loop().create_task(stop)
    try:
        await asyncio.wait({stopping}, timeout=timeout_seconds)
    finally:
        ended = stopping.done()
        await _end(stopping, grace_seconds=0)
    # `stop()` may end as if it had been cancelled, when a fetch of its own was waiting to be tried again
    if not ended or stopping.cancelled():
        return False
    if error := stopping.exception():
        log.warning("kafka_client_stop_failed", reason=repr(error))
    return error is None


async def abandon_admin(admin: Any) -> None:
    """Cut its connections."""
    admin._closed = True
    await abandon_client(admin._client)


async def abandon_consumer(consumer: Any) -> None:
    """Cut its connections and end its tasks, without a word to the group: its session will expire."""
    consumer._closed = True
    fetcher, coordinator = consumer._fetcher, consumer._coordinator
    tasks = [fetcher._fetch_task, *fetcher._pending_tasks] if fetcher else []
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
    tasks += [task for name in names if (task := getattr(coordinator, name, None))]
    for task in tasks:
        task.cancel()
    await abandon_client(consumer._client)
    for task in tasks:
        await _end(task, grace_seconds=_STEP_SECONDS)


async def abandon_client(client: Any) -> None:
    """Cut its connections and let nobody wait for it."""
    # The task that answers for metadata ends here; whoever asks again must not wait for it.
    client.force_metadata_update = _nothing_new
    writers = [connection._writer for connection in client._conns.values() if connection._writer]
    closing = asyncio.get_running_loop().create_task(client.close())
    await asyncio.wait({closing}, timeout=_STEP_SECONDS)
    for writer in writers:
        writer.transport.abort()  # does nothing where close was enough; a frozen broker may leave bytes unsent
    await _end(closing, grace_seconds=0)
    asked = client._md_update_fut
    if asked and not asked.done():
        asked.set_result(False)


def _nothing_new() -> asyncio.Future[bool]:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    answer.set_result(False)
    return answer


async def _end(task: asyncio.Task[Any], grace_seconds: float) -> None:
    """Wait for a task that was told to end; cancel it (once more) when it does not."""
    if not task.done() and grace_seconds:
        await asyncio.wait({task}, timeout=grace_seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_STEP_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # read, so that nobody reports it as never retrieved
