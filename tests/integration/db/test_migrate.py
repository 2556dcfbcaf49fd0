"""Migrations: safe to run again, at the same time, as an owner without special rights; and never in the way of work."""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, Table, Text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.bus import codec
from shared.core.errors import Unavailable
from shared.db import migrate
from shared.db.database import API_ROLE, Database
from shared.db.embedded import EmbeddedPostgres
from tests.support.postgres import TEMPLATE


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without any schema of ours."""
    postgres.execute("create database migrating")
    try:
        yield postgres.url("migrating")
    finally:
        postgres.execute("drop database migrating with (force)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def revisions(url: str) -> dict[str, str]:
    async with connected(url) as connection:
        schemas = await connection.fetch(
            "select schemaname from pg_tables where tablename = 'alembic_version' order by schemaname"
        )
        return {
            row["schemaname"]: await connection.fetchval(f"select version_num from {row['schemaname']}.alembic_version")
            for row in schemas
        }


async def test_upgrade_again_and_at_the_same_time(empty_url: str) -> None:
    sections = ("platform", "bus")
    await asyncio.gather(*(asyncio.to_thread(migrate.upgrade, empty_url, sections) for _ in range(3)))
    first = await revisions(empty_url)
    await asyncio.to_thread(migrate.upgrade, empty_url, sections)
    assert set(first) == set(sections)
    assert await revisions(empty_url) == first


async def test_an_owner_without_special_rights_can_migrate_and_work(postgres: EmbeddedPostgres) -> None:
    """As in a cluster: the database belongs to a plain role, which an administrator let act as the API's role."""
    postgres.execute("create role plain login nosuperuser nocreaterole")
    postgres.execute(f"grant {API_ROLE} to plain")
    postgres.execute("create database plainly owner plain")
    url = postgres.url("plainly").replace("//postgres@", "//plain@")
    try:
        await asyncio.to_thread(migrate.upgrade, url, ("platform",))
        await asyncio.to_thread(migrate.upgrade, url, ("platform",))
        made = Database(url, "platform", encode=codec.encode)
        statements = ["create table note (workspace text, text text, primary key (workspace, text))"]
        migrate_module = importlib.import_module("shared.db.workspaces")
        migrate_module.protect(statements.append, "note")
        async with made.unit_of_work() as uow:
            for statement in statements:
                await uow.execute(statement)
            await uow.execute("insert into note values ('acme', 'a'), ('globex', 'b')")
        async with made.unit_of_work("acme") as uow:
            seen = (await uow.execute("select text from note")).scalars().all()
        async with made.reader() as reader:
            both = await reader.scalar("select count(*) from note")
        await made.stop()
        assert (list(seen), both) == (["a"], 2)
    finally:
        postgres.execute("drop database plainly with (force)")
        postgres.execute("drop role plain")


_INI = """[sample]
script_location = {folder}
path_separator = os
"""
_ENV = """from sqlalchemy import MetaData
from shared.db.migrate import run_environment
run_environment(MetaData())
"""
_REVISION = """from alembic import op
revision = "{revision}"
down_revision = {down}
def upgrade() -> None:
    op.execute("{sql}")
"""


async def test_a_migration_gives_up_a_lock_that_live_work_holds(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text(_INI.format(folder=versions.parent))
    (versions.parent / "env.py").write_text(_ENV)
    (versions / "0001_a.py").write_text(_REVISION.format(revision="1", down=None, sql="create table busy (n int)"))
    monkeypatch.setattr(migrate, "INI", tmp_path / "alembic.ini")
    await asyncio.to_thread(migrate.upgrade, empty_url, ("sample",))
    sql = "alter table busy add column m int"
    (versions / "0002_b.py").write_text(_REVISION.format(revision="2", down="'1'", sql=sql))
    async with connected(empty_url) as worker, worker.transaction():
        await worker.execute("lock table sample.busy in access share mode")
        began = time.monotonic()
        with pytest.raises(Unavailable, match="live work held a lock"):
            await asyncio.to_thread(migrate.upgrade, empty_url, ("sample",))
        assert time.monotonic() - began < 5
    assert await revisions(empty_url) == {"sample": "1"}
    await asyncio.to_thread(migrate.upgrade, empty_url, ("sample",))
    assert await revisions(empty_url) == {"sample": "2"}


def models(section: str) -> MetaData | None:
    """The tables that a section's code declares; the bus has plain SQL only."""
    if section == "platform":
        return importlib.import_module("shared.db.platform").metadata  # type: ignore[no-any-return]
    try:
        return importlib.import_module(f"services.{section}.models").metadata  # type: ignore[no-any-return]
    except ModuleNotFoundError:
        return None


async def drift(url: str, section: str, metadata: MetaData) -> list[object]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(migrate.drift, section, metadata)
    finally:
        await engine.dispose()


@pytest.mark.parametrize("section", [section for section in migrate.SECTIONS if section != "bus"])
async def test_models_and_migrations_say_the_same(database_url: str, section: str) -> None:
    metadata = models(section)
    assert metadata is not None, f"services/{section}/models.py is missing"
    assert await drift(database_url, section, metadata) == []


async def test_the_drift_check_sees_what_differs(database_url: str) -> None:
    metadata = models("platform")
    assert metadata is not None
    changed = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(changed)
    Table("extra", changed, Column("id", Text, primary_key=True))
    changed.tables["api_key"].append_column(Column("more", Text))
    found = [
        difference[0] for difference in await drift(database_url, "platform", changed) if isinstance(difference, tuple)
    ]
    assert sorted(found) == ["add_column", "add_table"]


def test_the_template_of_the_tests_is_migrated(postgres: EmbeddedPostgres) -> None:
    assert set(asyncio.run(revisions(postgres.url(TEMPLATE)))) >= {"platform", "bus"}
