"""The sources in memory: a delivery costs no query, and goes on being verified while the database is away."""

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.ingest import repository
from services.ingest.canonical import Origin
from services.ingest.cipher import Cipher
from services.ingest.sources import CONNECTORS, Connector
from services.ingest.sources.base import Credential, SourceSettings, configured
from shared.core.errors import CloseloopError, Unavailable
from shared.db.database import Database, is_outage
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
# A change of a source is seen after at most this long.
_FRESH_SECONDS = 3.0
# A key that nobody knows may be a new source: look again, but strangers buy at most this many queries.
_UNKNOWN_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Source:
    """A source, ready to verify and parse."""

    origin: Origin
    connector: Connector
    settings: SourceSettings
    credential: Credential
    secrets: tuple[str, ...] = field(repr=False)


class Directory:
    """Sources by key. Loads all of them when any changed; one load at a time."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher
        self._sources: dict[str, Source] = {}
        self._version: tuple[int, datetime | None] | None = None
        self._checked_at = -_FRESH_SECONDS
        self._loading = asyncio.Lock()

    async def find(self, key: str) -> Source | None:
        """The live source with this key, or None. Raises Unavailable only while nothing was ever loaded."""
        age = time.monotonic() - self._checked_at
        if age > _FRESH_SECONDS or (key not in self._sources and age > _UNKNOWN_SECONDS):
            await self._refresh()
        return self._sources.get(key)

    async def load(self) -> None:
        """Load all sources. Raises Unavailable."""
        async with self._loading:
            await self._load()

    async def check(self) -> None:
        """Raise Unavailable while nothing was ever loaded; for readiness."""
        if self._version is None:
            raise Unavailable("the sources are not loaded yet")

    async def _refresh(self) -> None:
        if self._loading.locked() and self._version is not None:
            return  # somebody looks already; what we have is good enough meanwhile
        async with self._loading:
            if time.monotonic() - self._checked_at <= _UNKNOWN_SECONDS:
                return
            try:
                await self._load()
            except Exception as error:
                outage = isinstance(error, Unavailable) or is_outage(error)
                if not outage or self._version is None:
                    raise
                self._checked_at = time.monotonic()
                log.warning("sources_not_refreshed", error=type(error).__name__)

    async def _load(self) -> None:
        async with self._database.reader() as reader:
            version = await repository.version(reader)
            if version != self._version:
                self._sources = self._ready(await repository.enabled(reader))
                self._version = version
        self._checked_at = time.monotonic()

    def _ready(self, rows: Iterable[Any]) -> dict[str, Source]:
        """One source that cannot be opened (another key, a connector of a newer version) does not take the others."""
        ready: dict[str, Source] = {}
        for row in rows:
            try:
                ready[row.key] = source_of(row, self._cipher)
            except CloseloopError as error:
                log.error("source_unusable", workspace=row.workspace, source=row.name, reason=error.detail)
        return ready


def source_of(row: Any, cipher: Cipher) -> Source:
    """A source out of its row. Raises CloseloopError where it cannot be used."""
    connector = CONNECTORS.get(row.connector)
    if connector is None:
        raise CloseloopError(f"there is no connector {row.connector!r}")
    settings = configured(connector, row.settings)
    return Source(
        origin=Origin(row.workspace, row.name, connector.name),
        connector=connector,
        settings=settings,
        credential=connector.credential(settings),
        secrets=open_secrets(cipher, row),
    )


def open_secrets(cipher: Cipher, row: Any) -> tuple[str, ...]:
    """The active secrets, newest first. Raises SettingsError."""
    return tuple(json.loads(cipher.open(row.secrets, secret_context(row.workspace, row.name))))


def secret_context(workspace: str, name: str) -> str:
    """What the sealed secrets of a source are bound to."""
    return f"source/{workspace}/{name}"
