"""Server-sent events: ids to resume by, comments that keep proxies awake, an end at shutdown."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from shared.contracts.envelope import Event
from shared.core.clock import rfc3339
from shared.core.errors import Unavailable
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import SSE_CLIENTS

log = get_logger(__name__)
_HEARTBEAT_SECONDS = 15.0
# A client that takes nothing for this long is cut (P8): its socket buffer is full and stays so.
STALLED_SECONDS = 20.0
Events = AsyncIterator[tuple[str, Event[Any]]]
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


class EventStream(StreamingResponse):
    """A stream whose client is let go of when it leaves, and when it stops reading."""

    media_type = "text/event-stream"

    def __init__(self, name: str, events: Events) -> None:
        self._name = name
        self._events = events
        self._following: asyncio.Future[tuple[str, Event[Any]]] | None = None
        super().__init__(self._lines(), headers=_HEADERS)

    async def stream_response(self, send: Send) -> None:
        """Send until the stream ends or the client does."""

        async def impatient(message: Message) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)

        SSE_CLIENTS.labels(self._name).inc()
        try:
            await super().stream_response(impatient)
        except TimeoutError:
            log.info("stalled_client_cut", stream=self._name)
        finally:
            SSE_CLIENTS.labels(self._name).dec()
            # Now, not when somebody collects the generator; and wholly, also where our task is being cancelled.
            await asyncio.shield(asyncio.ensure_future(self._let_go()))

    async def _lines(self) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        while True:
            self._following = self._following or asyncio.ensure_future(anext(self._events))
            done, _ = await asyncio.wait([self._following], timeout=_HEARTBEAT_SECONDS)
            if not done:
                yield ": still here\n\n"
                continue
            try:
                identifier, event = self._following.result()
            except (StopAsyncIteration, Unavailable):  # after an outage the client reads on from its last id
                return
            self._following = None
            body = json.dumps(structured(event), ensure_ascii=False, separators=(",", ":"))
            yield f"id: {identifier}\nevent: {event.data.topic.name}\ndata: {body}\n\n"

    async def _let_go(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        if (close := getattr(self._events, "aclose", None)) is not None:
            await close()


def event_stream(name: str, events: Events) -> EventStream:
    """The answer of a stream route. `name` labels the metric."""
    return EventStream(name, events)
