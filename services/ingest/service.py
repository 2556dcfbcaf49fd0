"""Use cases of ingest: accept feedback, accept a vendor's delivery, keep what cannot be understood."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.ingest import repository
from services.ingest.canonical import Origin, Refused, event_of
from services.ingest.cipher import Cipher
from services.ingest.decoding import decode_json, invalid
from services.ingest.directory import Directory, Source, source_of
from services.ingest.outlet import BusOutlet, Received, SpoolingOutlet
from services.ingest.purchases import purchase_of
from services.ingest.sources.base import Answer, Parsed, Wanted
from services.ingest.sources.fetching import Fetched, FetchingConnector
from services.ingest.sources.proof import proven
from services.ingest.wants import SOURCE_HEADER, about, dead_letter_origin, want
from shared.auth.signatures import Scheme, Signed
from shared.bus import codec
from shared.bus.port import Message
from shared.core.clock import utc_now
from shared.core.errors import BadRecord, Fault, InvalidInput, Unauthenticated
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork, load_headers
from shared.runtime import dead_letters
from shared.runtime.replays import Mend
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import ACCEPTED

log = get_logger(__name__)
MAX_ITEMS = 500
_MAX_FAULTS = 100
# Verified against for a key that nobody knows, so that both refusals take the same time.
_NOBODY = Scheme(header="x-signature")
_UNPROVEN = "no such source, or a wrong signature; check the address and the secret that `closeloop sources` gave"


@dataclass(slots=True)
class Delivered:
    """How a vendor's delivery ended; `accepted` counts what is to be fetched too."""

    accepted: int = 0
    parked: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    answer: Answer | None = None


class IngestService:
    """What the endpoints call. Every method returns only when its effects are durable."""

    def __init__(self, outlet: BusOutlet | SpoolingOutlet, database: Database, directory: Directory) -> None:
        self._outlet = outlet
        self._database = database
        self._directory = directory

    async def accept(
        self,
        body: bytes,
        origin: Origin,
        make: Callable[..., Received] = event_of,
        *,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> list[Received]:
        """Accept one object or an array, whole or not at all; `make` gives the event of an item. Raises InvalidInput
        with the path of each fault."""
        value = decode_json(body)
        several = isinstance(value, list)
        items = value if several else [value]
        if not 1 <= len(items) <= MAX_ITEMS:
            raise invalid([Fault("$", f"holds {len(items)} items; send 1 to {MAX_ITEMS} at once, or use the import")])
        now = utc_now()
        events: list[Received] = []
        faults: list[Fault] = []
        for index, item in enumerate(items):
            key = None if not idempotency_key else f"key:{idempotency_key}" + (f"#{index}" if several else "")
            try:
                at = (index,) if several else ()
                events.append(make(item, origin, now, fallback_id=key, at=at, traceparent=traceparent))
            except Refused as refused:
                faults += refused.faults[: _MAX_FAULTS - len(faults)]
        if faults:
            raise invalid(faults)
        await self.publish(list(map(codec.encode, events)), origin)
        return events

    async def publish(self, messages: Sequence[Message], origin: Origin) -> None:
        """Make what came from there durable. Raises Unavailable; sending the same again is safe."""
        if not messages:
            return
        await self._outlet.send(messages, origin.workspace)
        ACCEPTED.labels(origin.connector).inc(len(messages))

    async def prove(self, key: str, message: Signed) -> Source:
        """The source that sent this. Raises Unauthenticated, the same for a wrong signature and an unknown source."""
        source = self._proven(key, message)
        if source is None:
            await self._directory.renew()  # it may be a new source, or a new secret
            source = self._proven(key, message)
        if source is None:
            raise Unauthenticated(_UNPROVEN)
        return source

    def _proven(self, key: str, message: Signed) -> Source | None:
        source = self._directory.find(key)
        now = time.time()
        if source is None:
            proven(_NOBODY, Signed(message.body, {"x-signature": "00"}), ("nobody",), now=now)
            return None
        return source if proven(source.credential, message, source.secrets, now=now) else None

    async def greet(self, key: str, message: Signed) -> Answer:
        """The answer to a vendor that wants to know who is here. Raises Unauthenticated for everybody else."""
        source = self._directory.find(key)
        if source is None:
            await self._directory.renew()
            source = self._directory.find(key)
        greeted = None if source is None else source.connector.greet(source.settings, message, source.secrets, key)
        if greeted is None:
            raise Unauthenticated(_UNPROVEN)
        return greeted

    async def deliver(self, source: Source, message: Signed, *, traceparent: str | None = None) -> Delivered:
        """Take a proven delivery. What cannot be understood is kept as a dead letter, raw."""
        parsed, events, error = _taken(source, message, traceparent)
        await self.publish(list(map(codec.encode, events)), source.origin)
        if source.quick is not None and len(events) == 1 and error is None:
            source.quick.learn(message.body, events[0])
        if parsed.wanted:
            async with self._database.unit_of_work(source.origin.workspace) as uow:
                await want(uow, source, parsed.wanted)
        if error is not None:
            await self._park(source, message, error)
        accepted = len(events) + len(parsed.wanted)
        return Delivered(accepted, int(error is not None), dict(parsed.skipped), parsed.answer)

    def rehearse(self, source: Source, message: Signed) -> dict[str, Any]:
        """What a proven delivery would give: `events` as they would be published, `skipped` and `faults`."""
        parsed, events, error = _taken(source, message, None)
        return {
            "events": [
                {"type": event.type, **event.data.model_dump(mode="json", exclude_defaults=True)} for event in events
            ],
            "skipped": dict(parsed.skipped),
            "faults": [{"path": fault.path, "reason": fault.reason} for fault in error.faults] if error else [],
        }

    async def _park(self, source: Source, message: Signed, error: BadRecord) -> None:
        read = ("content-type", *source.connector.reads)
        families = tuple(name for name in read if name.endswith("-"))
        kept = (one for one in message.headers.items() if one[0] in read or one[0].startswith(families))
        headers = [(SOURCE_HEADER, source.origin.source.encode())]
        headers += [(name, value.encode("utf-8", "replace")) for name, value in kept]
        async with self._database.unit_of_work() as uow:
            await dead_letters.park(
                uow,
                origin=dead_letter_origin(source.origin.connector),
                workspace=source.origin.workspace,
                value=message.body,
                headers=tuple(headers),
                error=error,
            )
        log.warning("delivery_parked", workspace=source.origin.workspace, source=source.origin.source)


def mender(cipher: Cipher) -> Mend:
    """Replays a kept delivery through its source, as the source is set up now."""

    async def mend(letter: Any, uow: UnitOfWork) -> None:
        headers = {name: value.decode("utf-8", "replace") for name, value in load_headers(letter.headers)}
        name = headers.pop(SOURCE_HEADER, "")
        row = await repository.one(uow, letter.workspace, name)
        if row is None:
            raise BadRecord(f"there is no source {name!r} any more")
        source = source_of(row, cipher)
        wanted, answered = about(letter.value, headers)
        if wanted is not None and not answered:
            await want(uow, source, [wanted])
            return
        if wanted is not None:
            fetched, events, error = fetched_by(source, wanted, bytes(letter.value))
            parsed = fetched.parsed
        else:
            parsed, events, error = _taken(source, Signed(bytes(letter.value), headers), None)
        if error is not None:
            raise error
        await want(uow, source, parsed.wanted)
        for event in events:
            uow.publish(event)
        ACCEPTED.labels(source.origin.connector).inc(len(events))

    return mend


def _taken(source: Source, message: Signed, traceparent: str | None) -> tuple[Parsed, list[Received], BadRecord | None]:
    """What was parsed, the events of its good items, and what keeps it as a dead letter."""
    try:
        return understood(source, message, traceparent)
    except InvalidInput as unreadable:
        return Parsed(), [], BadRecord(unreadable.detail, faults=unreadable.faults)
    except Exception as fault:  # a connector that breaks must not lose what it was given
        log.exception("connector_failed", connector=source.origin.connector, source=source.origin.source)
        reason = f"the connector {source.origin.connector} failed on it ({type(fault).__name__}): please report it"
        return Parsed(), [], BadRecord(reason, faults=[Fault("$", reason)])


def understood(
    source: Source, message: Signed, traceparent: str | None
) -> tuple[Parsed, list[Received], BadRecord | None]:
    """What was parsed, the events of its good items, and the error of the others. Raises InvalidInput."""
    parsed = source.connector.parse(source.settings, message)
    events, error = events_of(source, parsed, traceparent)
    return parsed, events, error


def fetched_by(source: Source, wanted: Wanted, body: bytes) -> tuple[Fetched, list[Received], BadRecord | None]:
    """What an answer of the vendor's API holds, the events of its good items, and the error of the others. Raises
    InvalidInput."""
    if not isinstance(source.connector, FetchingConnector):
        raise BadRecord(f"{source.connector.name} fetches nothing")
    fetched = source.connector.fetched(source.settings, wanted, body)
    events, error = events_of(source, fetched.parsed, None)
    return fetched, events, error


def events_of(source: Source, parsed: Parsed, traceparent: str | None) -> tuple[list[Received], BadRecord | None]:
    """The events of good items, and the error of the others."""
    now = utc_now()
    events: list[Received] = []
    faults: list[Fault] = []
    kinds: tuple[tuple[list[dict[str, Any]], Callable[..., Received]], ...] = (
        (parsed.items, event_of),
        (parsed.purchases, purchase_of),
    )
    for items, make in kinds:
        for index, item in enumerate(items):
            try:
                events.append(make(item, source.origin, now, at=(index,), traceparent=traceparent))
            except Refused as refused:
                faults += refused.faults[: _MAX_FAULTS - len(faults)]
    return events, BadRecord("the delivery does not give feedback that fits", faults=faults) if faults else None
