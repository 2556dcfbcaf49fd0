"""In front of the app: deliveries that the quick way takes, from their bytes to the 202.

It refuses only for lack of room (fairness.py), before a body is read. Whatever is not plain (an unknown source, a wrong
signature, a body in pieces, one that the quick way does not vouch for, a bus that is away) goes to the app behind with
its body played back, which knows how to say it.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.ingest.directory import Directory, Source
from services.ingest.endpoints import TEST_HEADER, headers_of
from services.ingest.fairness import Fairness
from services.ingest.outlet import BusOutlet, Ready, SpoolingOutlet
from services.ingest.sources.proof import proven
from shared.auth.signatures import Signed
from shared.core.clock import rfc3339, utc_now
from shared.core.errors import TooManyRequests, Unavailable
from shared.http.problems import problem_of
from shared.telemetry.metrics import ACCEPTED, REFUSED, child
from shared.telemetry.tracing import is_watched, trace_onward

_PATH = "/v1/sources/"
_TAKEN = ("/v1/feedback", "/v1/invitations", _PATH)
_LARGEST = 64 * 1024
_BODY = b'{"accepted":1,"parked":0,"skipped":{}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
_START: Message = {"type": "http.response.start", "status": 202, "headers": _HEADERS}
_END: Message = {"type": "http.response.body", "body": _BODY}


class _Group:
    """What goes out together: requests of one workspace that are read in one turn of the loop. `done` tells whether all
    of it is durable."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.events: list[Ready] = []
        self.done: asyncio.Future[bool] = loop.create_future()


class Door:
    """An ASGI app before another one."""

    def __init__(
        self, directory: Directory, outlet: BusOutlet | SpoolingOutlet, fairness: Fairness, behind: ASGIApp
    ) -> None:
        self._directory = directory
        self._outlet = outlet
        self._fairness = fairness
        self._behind = behind
        self._groups: dict[str, _Group] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope.get("path", "")
        if scope.get("method") != "POST" or not path.startswith(_TAKEN):
            await self._behind(scope, receive, send)
            return
        source = self._directory.find(path[len(_PATH) :]) if path.startswith(_PATH) else None
        try:
            with self._fairness.room():
                if source is not None:
                    self._fairness.admit(source.origin.workspace)  # of keys the app knows the workspace
                await self._let_in(source, scope, receive, send)
        except (TooManyRequests, Unavailable) as error:
            await _refuse(source, error, scope, receive, send)

    async def _let_in(self, source: Source | None, scope: Scope, receive: Receive, send: Send) -> None:
        if source is None or source.quick is None or is_watched():
            await self._behind(scope, receive, send)
            return
        first = await receive()
        if await self._taken(source, scope, first):
            await send(_START)
            await send(_END)
            return
        await self._behind(scope, _played_back(first, receive), send)

    async def _taken(self, source: Source, scope: Scope, first: Message) -> bool:
        body = first.get("body", b"")
        if source.quick is None or first.get("more_body") or not 0 < len(body) <= _LARGEST:
            return False
        headers, now = headers_of(scope), utc_now()
        message = Signed(body, headers)
        if TEST_HEADER in headers or not proven(source.credential, message, source.secrets, now=now.timestamp()):
            return False
        record = source.quick.record(body, now, rfc3339(now), trace_onward(headers.get("traceparent")))
        if record is None:
            return False
        if not await asyncio.shield(self._out(Ready(source.origin.workspace, record))):
            return False
        child(ACCEPTED, source.origin.connector).inc()
        return True

    def _out(self, event: Ready) -> asyncio.Future[bool]:
        group = self._groups.get(event.workspace)
        if group is None:
            loop = asyncio.get_running_loop()
            group = self._groups[event.workspace] = _Group(loop)
            task = loop.create_task(self._send(event.workspace, group), name="door")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        group.events.append(event)
        return group.done

    async def _send(self, workspace: str, group: _Group) -> None:
        """Runs when all that this turn of the loop has read is in the group."""
        del self._groups[workspace]
        try:
            await self._outlet.send(group.events)
        except Unavailable:
            group.done.set_result(False)
        except BaseException as error:
            group.done.set_exception(error)
            raise
        else:
            group.done.set_result(True)


async def _refuse(
    source: Source | None, error: TooManyRequests | Unavailable, scope: Scope, receive: Receive, send: Send
) -> None:
    """Before the body is read, so the connection cannot be used again."""
    connector = "source" if source is None else source.origin.connector
    if isinstance(error, TooManyRequests) and source is not None and source.connector.busy != error.status:
        error = Unavailable(error.detail, retry_after_seconds=error.retry_after_seconds)
    child(REFUSED, connector, str(error.status)).inc()
    response = problem_of(error)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)


def _played_back(first: Message, receive: Receive) -> Receive:
    """The messages of a request again from the first."""
    waiting = [first]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
