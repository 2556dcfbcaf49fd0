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
from services.ingest.quick import QuickWay
from services.ingest.sources import CONNECTORS, Connector
from services.ingest.sources.base import SourceSettings, configured
from services.ingest.sources.proof import Credential
from shared.core.errors import CloseloopError, Unavailable
from shared.db.database import Database, is_outage
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
# A source that was disabled goes on for at most this long.
_FRESH_SECONDS = 3.0
# What cannot be proven may be a new source or secret: we look again before we refuse, at most once in this time.
_PACE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Source:
    """A source, ready to verify and parse."""

    origin: Origin
    connector: Connector
    settings: SourceSettings
    credential: Credential
    secrets: tuple[str, ...] = field(repr=False)
    token: str = field(default="", repr=False)
    quick: QuickWay | None = field(default=None, repr=False, compare=False)
    """Where its bodies are in the public form already."""


class Directory:
    """Sources by key. Loads all of them when any changed; one load at a time."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher
        self._sources: dict[str, Source] = {}
        self._version: tuple[int, datetime | None] | None = None
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    def find(self, key: str) -> Source | None:
        """The live source with this key, or None. Never waits: what is old is renewed beside the request."""
        if time.monotonic() - self._loaded_at > _FRESH_SECONDS and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self.renew(), name="sources renewal")
        return self._sources.get(key)

    async def load(self) -> None:
        """Load all sources. Raises Unavailable."""
        async with self._loading:
            await self._load()

    async def renew(self) -> None:
        """Return when what `find` gives is not older than this call, or the database is away. Strangers who make us
        call this share one small query each `_PACE_SECONDS`."""
        asked_at = time.monotonic()
        async with self._loading:
            if self._loaded_at >= asked_at:
                return
            await asyncio.sleep(max(0.0, self._loaded_at + _PACE_SECONDS - time.monotonic()))
            try:
                await self._load()
            except Exception as error:
                if not (isinstance(error, Unavailable) or is_outage(error)):
                    raise
                self._loaded_at = time.monotonic()
                log.warning("sources_not_renewed", error=type(error).__name__)

    async def check(self) -> None:
        """Raise Unavailable while nothing was ever loaded; for readiness."""
        if self._version is None:
            raise Unavailable("the sources are not loaded yet")

    async def stop(self) -> None:
        """End a renewal under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _load(self) -> None:
        began_at = time.monotonic()
        async with self._database.reader() as reader:
            version = await repository.version(reader)
            if version != self._version:
                self._sources = self._ready(await repository.enabled(reader))
                self._version = version
        self._loaded_at = began_at

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
    origin = Origin(row.workspace, row.name, connector.name)
    return Source(
        origin=origin,
        quick=QuickWay(origin) if connector.takes_our_form(settings) else None,
        connector=connector,
        settings=settings,
        credential=connector.credential(settings),
        secrets=open_secrets(cipher, row),
        token=cipher.open(row.token, token_context(row.workspace, row.name)).decode() if row.token else "",
    )


def open_secrets(cipher: Cipher, row: Any) -> tuple[str, ...]:
    """The active secrets, newest first. Raises SettingsError."""
    return tuple(json.loads(cipher.open(row.secrets, secret_context(row.workspace, row.name))))


def secret_context(workspace: str, name: str) -> str:
    """What the sealed secrets of a source are bound to."""
    return f"source/{workspace}/{name}"


def token_context(workspace: str, name: str) -> str:
    """What the sealed token of a source is bound to."""
    return f"token/{workspace}/{name}"
