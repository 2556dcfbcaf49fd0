"""The `platform` schema: workspaces and their API keys, which every service reads to know who is asking."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, ForeignKey, MetaData, Row, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.db.database import Database

metadata = MetaData()
_NOW = text("clock_timestamp()")

workspace = Table(
    "workspace",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
)
api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, ForeignKey("workspace.name"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("revoked_at", DateTime(timezone=True)),
)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as stored: only the hash of its secret."""

    id: str
    workspace: str
    name: str
    roles: tuple[str, ...]
    secret_hash: str = field(repr=False)
    created_at: datetime
    revoked_at: datetime | None


class ApiKeys:
    """SQL of the keys. `database` is on the `platform` schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, *, key_id: str, workspace: str, name: str, roles: Sequence[str], secret_hash: str) -> None:
        """Store a new key; its workspace is made with its first key."""
        async with self._database.unit_of_work() as uow:
            await uow.execute(
                "insert into workspace (name) values (:workspace) on conflict do nothing", {"workspace": workspace}
            )
            await uow.execute(
                "insert into api_key (id, workspace, name, roles, secret_hash) "
                "values (:id, :workspace, :name, :roles, :secret_hash)",
                {"id": key_id, "workspace": workspace, "name": name, "roles": list(roles), "secret_hash": secret_hash},
            )

    async def find(self, key_id: str) -> StoredKey | None:
        """The key with this id, revoked or not."""
        async with self._database.reader() as reader:
            row = await reader.first(api_key.select().where(api_key.c.id == key_id))
        return None if row is None else _stored(row)

    async def list(self, workspace: str | None = None) -> list[StoredKey]:
        """Keys of one workspace or of all, oldest first."""
        query = api_key.select().order_by(api_key.c.created_at, api_key.c.id)
        if workspace is not None:
            query = query.where(api_key.c.workspace == workspace)
        async with self._database.reader() as reader:
            return [_stored(row) for row in await reader.all(query)]

    async def revoke(self, key_id: str) -> bool:
        """Make a key useless from now on; False if there is no such live key."""
        async with self._database.unit_of_work() as uow:
            result = await uow.execute(
                "update api_key set revoked_at = clock_timestamp() where id = :id and revoked_at is null",
                {"id": key_id},
            )
        return result.rowcount > 0


def _stored(row: Row[Any]) -> StoredKey:
    fields = row._mapping
    return StoredKey(**{**fields, "roles": tuple(fields["roles"])})
