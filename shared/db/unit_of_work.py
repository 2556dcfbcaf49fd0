"""The unit of work: effects, outgoing events and timers of one batch or request, committed together or not at all."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import CursorResult, Executable, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.envelope import Event

Params = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Encoded(Protocol):
    """An event in the form the bus takes (shared/bus/port.py Message)."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...
    @property
    def headers(self) -> Iterable[tuple[str, bytes]]: ...


_INSERT_OUTBOX = text(
    """with written as (
           insert into outbox (topic, key, value, headers)
           select * from unnest(cast(:topics as text[]), cast(:keys as bytea[]), cast(:values as bytea[]),
                                cast(:headers as json[]))
       )
       select pg_notify(:channel, '')"""
)
_NOTIFY = text("select pg_notify(:channel, '')")
_NOW = text("select clock_timestamp()")
# Building a TextClause costs as much as a small query; the SQL of a process is a closed set.
sql = lru_cache(maxsize=2048)(text)
_SCHEDULE = text(
    """insert into timer (kind, key, workspace, due_at, payload)
       values (:kind, :key, :workspace, coalesce(:due_at, clock_timestamp() + make_interval(secs => :after_seconds)),
               cast(:payload as json))
       on conflict (workspace, kind, key) do update set due_at = excluded.due_at, payload = excluded.payload
       returning due_at"""
)
_CANCEL = text(
    "delete from timer where kind = :kind and key = :key and workspace = coalesce(cast(:workspace as text), workspace)"
)


class UnitOfWork:
    """Handed to handlers and use cases. It has no commit: the block that opened it decides (Database.unit_of_work)."""

    def __init__(self, connection: AsyncConnection, schema: str, encode: Callable[[Event[Any]], Encoded]) -> None:
        self._connection = connection
        self._schema = schema
        self._encode = encode
        self._outgoing: list[Encoded] = []
        self._timers_changed = False

    async def execute(self, statement: Executable | str, params: Params = None) -> CursorResult[Any]:
        """Run one statement in this transaction; SQL text uses :named parameters and bare table names."""
        prepared = sql(statement) if isinstance(statement, str) else statement
        return await self._connection.execute(prepared, params)

    def publish(self, event: Event[Any]) -> None:
        """Send an event if and when this transaction commits (by way of the outbox, in this order)."""
        self.forward(self._encode(event))

    def forward(self, message: Encoded) -> None:
        """The same for an event that is encoded already."""
        self._outgoing.append(message)

    async def schedule(
        self,
        kind: str,
        key: str,
        *,
        workspace: str,
        payload: Mapping[str, Any],
        due_at: datetime | None = None,
        after_seconds: float = 0,
    ) -> datetime:
        """Set the workspace's durable timer (kind, key) to `due_at`, or to `after_seconds` from now by the database
        clock. Setting it again moves it. Returns when it is due."""
        self._timers_changed = True
        result = await self._connection.execute(
            _SCHEDULE,
            {
                "kind": kind,
                "key": key,
                "workspace": workspace,
                "due_at": due_at,
                "after_seconds": after_seconds,
                "payload": json.dumps(payload),
            },
        )
        due: datetime = result.scalar_one()
        return due

    async def cancel(self, kind: str, key: str, *, workspace: str | None = None) -> bool:
        """Remove the timer (kind, key); False where there is none (it fired, or never was). A worker whose keys are
        not unique among workspaces says whose."""
        parameters = {"kind": kind, "key": key, "workspace": workspace}
        result: CursorResult[Any] = await self._connection.execute(_CANCEL, parameters)
        return result.rowcount > 0

    async def now(self) -> datetime:
        """The database clock, which alone decides about due times."""
        moment: datetime = (await self._connection.execute(_NOW)).scalar_one()
        return moment

    async def flush(self) -> None:
        """Write what was published and wake the relay and the timers at the commit. Called once, by the opener."""
        if self._outgoing:
            columns = _columns(self._outgoing)
            await self._connection.execute(_INSERT_OUTBOX, {**columns, "channel": f"{self._schema}_outbox"})
        if self._timers_changed:
            await self._connection.execute(_NOTIFY, {"channel": f"{self._schema}_timer"})
        self._outgoing = []


def _columns(outgoing: Sequence[Encoded]) -> dict[str, list[Any]]:
    return {
        "topics": [message.topic for message in outgoing],
        "keys": [message.key for message in outgoing],
        "values": [message.value for message in outgoing],
        "headers": [dump_headers(message.headers) for message in outgoing],
    }


def dump_headers(headers: Iterable[tuple[str, bytes]]) -> str:
    """Headers as JSON pairs. Latin-1 keeps every byte, whatever a foreign producer put in, be it null."""
    return json.dumps([[name, (value or b"").decode("latin-1")] for name, value in headers])


def load_headers(stored: Sequence[Sequence[str]]) -> tuple[tuple[str, bytes], ...]:
    """Undo `dump_headers`."""
    return tuple((name, value.encode("latin-1")) for name, value in stored)
