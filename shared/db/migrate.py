"""Migrations: one `alembic.ini`, a section and a schema per service, run under a lock with short lock timeouts.

The single node runs `upgrade` at every start; a cluster runs `closeloop migrate` before the new version rolls out.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from alembic import command, context
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.core.errors import Unavailable
from shared.core.settings import Settings, load
from shared.db.database import is_outage
from shared.db.workspaces import ENSURE_API_ROLE

# Order matters once, on an empty database: the platform and the bus come before the services.
SECTIONS: tuple[str, ...] = ("platform", "bus", "ingest", "scoring", "routing", "notifier")
INI = Path(__file__).parents[2] / "alembic.ini"
# Serialises nodes that start at the same moment; any constant will do.
_LOCK = 0x636C6F6F70


def upgrade(url: str, sections: Sequence[str] = SECTIONS) -> None:
    """Bring every section to its newest revision. Synchronous (Alembic is): from a running loop use a thread.

    Raises Unavailable when the database is away or live work holds a lock; the revision under way changed nothing.
    """
    try:
        asyncio.run(_upgrade(url, sections))
    except Exception as error:
        if is_outage(error):
            raise Unavailable(
                "the database is out of reach, or live work held a lock for over 2 s; this step changed nothing: "
                "run it again"
            ) from error
        raise


async def _upgrade(url: str, sections: Sequence[str]) -> None:
    engine = create_async_engine(_async_url(url))
    try:
        async with engine.connect() as connection:
            await connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK})
            await connection.execute(text(ENSURE_API_ROLE))
            await connection.commit()
            for section in sections:
                await connection.run_sync(_upgrade_section, section)
                await connection.commit()
    finally:
        await engine.dispose()


def _upgrade_section(connection: Connection, section: str) -> None:
    config = Config(INI, ini_section=section)
    head = ScriptDirectory.from_config(config).get_current_head()
    enter_schema(connection, section)
    if head != MigrationContext.configure(connection).get_current_revision():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def enter_schema(connection: Connection, schema: str) -> None:
    """Make `schema` exist and be the search path; a migration never waits long for a lock that live work holds."""
    connection.execute(text(f"create schema if not exists {schema}"))
    connection.execute(text(f"grant usage on schema {schema} to closeloop_api"))
    connection.execute(text(f"set search_path to {schema}"))
    connection.execute(text("set lock_timeout to '2s'"))
    connection.commit()
    connection.dialect.default_schema_name = schema


def run_environment(metadata: MetaData) -> None:
    """The body of every `migrations/env.py`: by `upgrade` on its connection, by the alembic command on its own."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run(connection, metadata)
    else:
        asyncio.run(_run_on_own_connection(metadata))


async def _run_on_own_connection(metadata: MetaData) -> None:
    engine = create_async_engine(_async_url(load(Settings).database_url))
    async with engine.connect() as connection:
        await connection.run_sync(enter_schema, context.config.config_ini_section)
        await connection.run_sync(_run, metadata)
    await engine.dispose()


def _run(connection: Connection, metadata: MetaData) -> None:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def drift(connection: Connection, schema: str, metadata: MetaData) -> list[object]:
    """What the models say and the migrated schema does not, or the other way round; [] when they agree."""
    enter_schema(connection, schema)
    migration = MigrationContext.configure(connection, opts={"include_name": _not_version_table})
    return list(compare_metadata(migration, metadata))


def _not_version_table(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and name == "alembic_version")


def _async_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)
