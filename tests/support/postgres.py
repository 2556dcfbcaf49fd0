"""One embedded PostgreSQL for a test session, and fresh databases cloned from a migrated template.

Durability stays on as in production; the data only lies in memory where the system offers it.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import asyncpg
from alembic.config import Config

from shared.db.embedded import EmbeddedPostgres
from shared.db.migrate import INI, SECTIONS, upgrade

TEMPLATE = "closeloop_template"
_MEMORY = Path("/dev/shm")
_LEAST_FREE_BYTES = 2 * 1024**3
_numbers = count(1)


class _Maintenance:
    """One connection that makes and drops all databases of a server. EmbeddedPostgres starts a psql for each statement;
    three of those a test, forked from a process with every test in it, cost more than most tests. It has a thread of
    its own: who asks for a database may be in an event loop, and must not go on without it."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._address = server.url("postgres")
        self._connection: asyncpg.Connection | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="databases", daemon=True)
        self._thread.start()

    def execute(self, statement: str) -> None:
        """Run a statement that cannot run in a transaction."""
        asyncio.run_coroutine_threadsafe(self._execute(statement), self._loop).result(120)

    def url(self, database: str) -> str:
        """The address of a database that was made here."""
        return urlsplit(self._address)._replace(path=f"/{database}").geturl()

    def close(self) -> None:
        """Ends the connection and the thread."""
        asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _execute(self, statement: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._address)
        await self._connection.execute(statement)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=10)


_maintenance: WeakKeyDictionary[EmbeddedPostgres, _Maintenance] = WeakKeyDictionary()


@contextmanager
def data_folder() -> Iterator[Path]:
    """An empty folder for a server's data, removed afterwards."""
    memory = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _LEAST_FREE_BYTES
    folder = Path(tempfile.mkdtemp(prefix="closeloop-test-", dir=_MEMORY if memory else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_server(port: int | None = None) -> Iterator[EmbeddedPostgres]:
    """A server of one's own, for tests that break it."""
    with data_folder() as folder, EmbeddedPostgres(folder, port=port) as server:
        try:
            yield server
        finally:
            if server in _maintenance:
                _maintenance.pop(server).close()


def make_template(server: EmbeddedPostgres) -> None:
    """Run all migrations once; every test's database is a copy of the result."""
    # A service that is not written yet has a section without a folder.
    folders = {name: Path(Config(INI, ini_section=name).get_main_option("script_location") or "") for name in SECTIONS}
    upgrade(server.url(TEMPLATE), [name for name, folder in folders.items() if folder.is_dir()])


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    """The address of a migrated, empty database that is dropped afterwards, whoever is still connected. Files that are
    copied cost less than pages that are logged."""
    if server not in _maintenance:
        _maintenance[server] = _Maintenance(server)
    databases = _maintenance[server]
    name = f"test_{next(_numbers)}"
    databases.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    try:
        yield databases.url(name)
    finally:
        databases.execute(f"drop database if exists {name} with (force)")
