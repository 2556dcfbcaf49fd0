"""In front of the app: deliveries that the quick way takes, from their bytes to the 202 (shared/http/protocol.py).

It refuses nothing: whatever is not plain (an unknown source, a wrong signature, a body that the quick way does not
vouch for, no room, a bus that is away) goes to the app, which knows how to say it.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from services.ingest.directory import Directory, Source
from services.ingest.endpoints import TEST_HEADER
from services.ingest.fairness import Fairness
from services.ingest.outlet import BusOutlet, SpoolingOutlet
from services.ingest.sources.proof import proven
from shared.auth.signatures import Signed
from shared.bus.port import Message
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

_Delivery = tuple[Source, Signed, Reply]


class IngestDesk:
    """A shared.http.protocol.Desk. What it keeps of a request is its source.

    What is read in one turn of the loop is worked on together, a step for all before the next step: the processor's
    caches hold one step, not the whole way.
    """

    def __init__(self, directory: Directory, outlet: BusOutlet | SpoolingOutlet, fairness: Fairness) -> None:
        self._directory = directory
        self._outlet = outlet
        self._fairness = fairness
        self._waiting: list[_Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()

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

    def take(self, visit: Source, headers: Mapping[str, str], body: bytes, reply: Reply) -> None:
        """It is answered when its record is durable, or goes to the app."""
        if not self._waiting:
            self._begin(self._work())
        self._waiting.append((visit, Signed(body, headers), reply))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="desk")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Runs when all that this turn of the loop has read is waiting."""
        waiting, self._waiting = self._waiting, []
        groups: dict[int, list[_Delivery]] = {}
        for one in waiting:
            groups.setdefault(id(one[0]), []).append(one)
        several = list(groups.values())
        for group in several[1:]:
            self._begin(self._deliver(group))
        await self._deliver(several[0])

    async def _deliver(self, group: Sequence[_Delivery]) -> None:
        """Those of one source."""
        source = group[0][0]
        records: Sequence[Message | None] = [None] * len(group)
        try:
            records = _records(source, [message for _, message, _ in group])
        finally:
            for (_, _, reply), record in zip(group, records, strict=True):
                if record is None:
                    self.leave(source)
                    reply(None)
        good = [record for record in records if record is not None]
        if good:
            await self._send(source, good, [one[2] for one, record in zip(group, records, strict=True) if record])

    async def _send(self, source: Source, records: Sequence[Message], replies: Sequence[Reply]) -> None:
        answer: bytes | None = None
        try:
            await self._outlet.send(records, source.origin.workspace)
            child(ACCEPTED, source.origin.connector).inc(len(records))
            answer = _ANSWER
        except Unavailable:
            pass  # the app tries it again, and says what is wrong
        finally:
            for reply in replies:
                if answer is None:
                    self.leave(source)
                else:
                    self._fairness.leave()
                reply(answer)


def _records(source: Source, messages: Sequence[Signed]) -> list[Message | None]:
    """The record of each that is proven and known; none where somebody reads spans."""
    found: list[Message | None] = [None] * len(messages)
    if source.quick is None or is_watched():
        return found
    moment = utc_now()
    seconds, stamp = moment.timestamp(), rfc3339(moment)
    good = [
        number
        for number, message in enumerate(messages)
        if TEST_HEADER not in message.headers and proven(source.credential, message, source.secrets, now=seconds)
    ]
    traces = [trace for number in good if (trace := trace_onward(messages[number].headers.get("traceparent")))]
    records = source.quick.records([messages[number].body for number in good], moment, stamp, traces)
    for number, record in zip(good, records, strict=True):
        found[number] = record
    return found
