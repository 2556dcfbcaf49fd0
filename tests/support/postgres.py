"""One embedded PostgreSQL for a test session, and fresh databases cloned from a migrated template.

Durability stays on as in production; the data only lies in memory where the system offers it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from alembic.config import Config

from shared.db.embedded import EmbeddedPostgres
from shared.db.migrate import INI, SECTIONS, upgrade

TEMPLATE = "closeloop_template"
_MEMORY = Path("/dev/shm")
_LEAST_FREE_BYTES = 2 * 1024**3
_numbers = count(1)


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
        yield server


def make_template(server: EmbeddedPostgres) -> None:
    """Run all migrations once; every test's database is a copy of the result."""
    # A service that is not written yet has a section without a folder.
    folders = {name: Path(Config(INI, ini_section=name).get_main_option("script_location") or "") for name in SECTIONS}
    upgrade(server.url(TEMPLATE), [name for name, folder in folders.items() if folder.is_dir()])


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    """The address of a migrated, empty database that is dropped afterwards, whoever is still connected."""
    name = f"test_{next(_numbers)}"
    server.execute(f"create database {name} template {TEMPLATE}")
    try:
        yield server.url(name)
    finally:
        server.execute(f"drop database if exists {name} with (force)")
