"""Dead letters as operators handle them: look, replay, drop. `closeloop dead-letters` is its face."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db.database import Database
from shared.db.unit_of_work import load_headers

_LIST = """
select id, origin, workspace, partition, record_offset, key, value, headers, error_class, error, attempts, state,
       parked_at
from dead_letter
where (cast(:state as text) is null or state = :state) and (cast(:origin as text) is null or origin = :origin)
  and (cast(:id as uuid) is null or id = :id)
order by parked_at desc, id desc limit :limit"""
_CHANGE = """
update dead_letter set state = :state where id = any(array(
    select id from dead_letter
    where state = any(cast(:from_states as text[])) and (cast(:id as uuid) is null or id = :id)
      and (cast(:origin as text) is null or origin = :origin)
    order by parked_at limit :most
))"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that could not be handled, whole. `service` is the schema it lies in."""

    service: str
    id: UUID
    origin: str
    workspace: str | None
    partition: int | None
    record_offset: int | None
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    error_class: str
    error: str
    attempts: int
    state: str
    parked_at: datetime


class DeadLetterAdmin:
    """The dead letters of several services; each Database is on the schema of one of them."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._databases = databases

    async def list(
        self, *, state: str | None = "parked", origin: str | None = None, limit: int = 50
    ) -> list[DeadLetter]:
        """Newest first over all services."""
        found: list[DeadLetter] = []
        for database in self._databases:
            async with database.reader() as reader:
                rows = await reader.all(_LIST, {"state": state, "origin": origin, "id": None, "limit": limit})
            found += [_letter(database.schema, row) for row in rows]
        return sorted(found, key=lambda letter: letter.parked_at, reverse=True)[:limit]

    async def show(self, letter_id: UUID) -> DeadLetter | None:
        """One dead letter, or None."""
        for database in self._databases:
            async with database.reader() as reader:
                row = await reader.first(_LIST, {"state": None, "origin": None, "id": letter_id, "limit": 1})
            if row is not None:
                return _letter(database.schema, row)
        return None

    async def replay(self, *, most: int, letter_id: UUID | None = None, origin: str | None = None) -> int:
        """Ask the running service to handle up to `most` parked letters again, oldest first; how many were marked."""
        return await self._change("replay", ("parked",), most, letter_id, origin, wake=True)

    async def drop(self, *, most: int, letter_id: UUID | None = None, origin: str | None = None) -> int:
        """Give up to `most` parked letters up; they stay to be read for 30 days."""
        return await self._change("dropped", ("parked", "replay"), most, letter_id, origin, wake=False)

    async def _change(
        self,
        state: str,
        from_states: Sequence[str],
        most: int,
        letter_id: UUID | None,
        origin: str | None,
        *,
        wake: bool,
    ) -> int:
        changed = 0
        for database in self._databases:
            async with database.unit_of_work() as uow:
                result = await uow.execute(
                    _CHANGE,
                    {
                        "state": state,
                        "from_states": list(from_states),
                        "id": letter_id,
                        "origin": origin,
                        "most": most - changed,
                    },
                )
                if wake:
                    await uow.execute("select pg_notify(:channel, '')", {"channel": f"{database.schema}_replay"})
            changed += result.rowcount
        return changed


def _letter(service: str, row: Any) -> DeadLetter:
    fields = dict(row._mapping)
    return DeadLetter(service=service, **{**fields, "headers": load_headers(fields["headers"])})
