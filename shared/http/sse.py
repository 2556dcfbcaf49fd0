"""Server-sent events: ids to resume by, comments that keep proxies awake, an end at shutdown."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from shared.contracts.envelope import Event
from shared.core.clock import rfc3339
from shared.telemetry.metrics import SSE_CLIENTS

_HEARTBEAT_SECONDS = 15.0
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def structured(event: Event[Any]) -> dict[str, Any]:
    """An event as a structured CloudEvent: attributes and data in one JSON object."""
    return {
        "specversion": "1.0",
        "id": str(event.id),
        "type": event.type,
        "source": event.source,
        "time": rfc3339(event.time),
        "workspace": event.workspace,
        "correlationid": str(event.correlation_id),
        "causationid": None if event.causation_id is None else str(event.causation_id),
        "data": event.data.model_dump(mode="json", exclude_none=True),
    }


def event_stream(name: str, events: AsyncIterator[tuple[str, Event[Any]]]) -> StreamingResponse:
    """The answer of a stream route. `name` labels the metric."""
    return StreamingResponse(_lines(name, events), media_type="text/event-stream", headers=_HEADERS)


async def _lines(name: str, events: AsyncIterator[tuple[str, Event[Any]]]) -> AsyncIterator[str]:
    SSE_CLIENTS.labels(name).inc()
    following: asyncio.Future[tuple[str, Event[Any]]] | None = None
    try:
        yield "retry: 1000\n\n"
        while True:
            following = following or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([following], timeout=_HEARTBEAT_SECONDS)
            if not done:
                yield ": still here\n\n"
                continue
            try:
                identifier, event = following.result()
            except StopAsyncIteration:
                return
            following = None
            body = json.dumps(structured(event), ensure_ascii=False, separators=(",", ":"))
            yield f"id: {identifier}\nevent: {event.data.topic.name}\ndata: {body}\n\n"
    finally:
        if following is not None:
            following.cancel()
        SSE_CLIENTS.labels(name).dec()
