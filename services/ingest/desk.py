"""In front of the app: deliveries that the quick way takes, from their bytes to the 202 (shared/http/protocol.py).

It refuses nothing: whatever is not plain (an unknown source, a wrong signature, a body that the quick way does not
vouch for, no room, a bus that is away) goes to the app, which knows how to say it.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from services.ingest.directory import Directory, Source
from services.ingest.endpoints import TEST_HEADER
from services.ingest.fairness import Fairness
from services.ingest.outlet import BusOutlet, Ready, SpoolingOutlet
from services.ingest.sources.proof import proven
from shared.auth.signatures import Signed
from shared.core.clock import rfc3339, utc_now
from shared.core.errors import Unavailable
from shared.http.protocol import Reply
from shared.telemetry.metrics import ACCEPTED, child
from shared.telemetry.tracing import is_watched, trace_onward

PATH = "/v1/sources/"
_BODY = b'{"accepted":1,"parked":0,"skipped":{}}'
_ANSWER = (
    b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY


class _Group:
    """What goes out together: deliveries to one source that are read in one turn of the loop."""

    def __init__(self) -> None:
        self.events: list[Ready] = []
        self.replies: list[Reply] = []


class IngestDesk:
    """A shared.http.protocol.Desk. What it keeps of a request is its source."""

    def __init__(self, directory: Directory, outlet: BusOutlet | SpoolingOutlet, fairness: Fairness) -> None:
        self._directory = directory
        self._outlet = outlet
        self._fairness = fairness
        self._now: tuple[datetime, float, str] = datetime.fromtimestamp(0, UTC), 0.0, ""
        self._watched = False
        self._groups: dict[int, _Group] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def admit(self, url: str) -> Source | None:
        """The source of a delivery that may come quickly; it has its place and its token then."""
        if not url.startswith(PATH):
            return None
        source = self._directory.find(url[len(PATH) :])
        if source is None or source.quick is None or not self._fairness.takes_in(source.origin.workspace):
            return None
        return source

    def leave(self, visit: Source) -> None:
        """It goes to the app, which takes a place and a token for it."""
        self._fairness.leave()
        self._fairness.give_back(visit.origin.workspace)

    def take(self, visit: Source, headers: Mapping[str, str], body: bytes, reply: Reply) -> bool:
        """Whether it is proven, and its record known; it is answered when that is durable."""
        event = self._ready(visit, headers, body)
        if event is None:
            self.leave(visit)
            return False
        group = self._groups.get(id(visit))
        if group is None:
            group = self._groups[id(visit)] = _Group()
            task = asyncio.get_running_loop().create_task(self._send(visit, group), name="desk")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        group.events.append(event)
        group.replies.append(reply)
        return True

    def _ready(self, source: Source, headers: Mapping[str, str], body: bytes) -> Ready | None:
        if not self._groups:  # one moment for all that is read in one turn of the loop
            now = utc_now()
            self._now = now, now.timestamp(), rfc3339(now)
            self._watched = is_watched()
        moment, seconds, stamp = self._now
        if self._watched or source.quick is None or TEST_HEADER in headers:
            return None
        if not proven(source.credential, Signed(body, headers), source.secrets, now=seconds):
            return None
        record = source.quick.record(body, moment, stamp, trace_onward(headers.get("traceparent")))
        return None if record is None else Ready(source.origin.workspace, record)

    async def _send(self, source: Source, group: _Group) -> None:
        """Runs when all that this turn of the loop has read is in the group."""
        del self._groups[id(source)]
        answer: bytes | None = None
        try:
            await self._outlet.send(group.events)
            child(ACCEPTED, source.origin.connector).inc(len(group.events))
            answer = _ANSWER
        except Unavailable:
            pass  # the app tries it again, and says what is wrong
        finally:
            for reply in group.replies:
                if answer is None:
                    self.leave(source)
                else:
                    self._fairness.leave()
                reply(answer)
