"""Sources as an operator handles them: add, list, change, rotate, disable. Used by the CLI and the API."""

import base64
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from services.ingest import repository
from services.ingest.cipher import Cipher
from services.ingest.decoding import invalid
from services.ingest.directory import Source, open_secrets, secret_context, source_of, token_context
from services.ingest.sources import CONNECTORS, Connector
from services.ingest.sources.base import SourceSettings, configured
from services.ingest.sources.fetching import FetchingConnector
from services.ingest.sources.proof import with_proof
from shared.auth.signatures import STANDARD_WEBHOOKS, Ed25519, Scheme, Signed
from shared.contracts.envelope import Label
from shared.core.errors import Fault, NotFound
from shared.core.settings import SettingsError
from shared.db.database import Database
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
PATH = "/v1/sources/"
# The source names of our own endpoints.
_RESERVED = {"api", "import"}
_ACTIVE_SECRETS = 2
_LEAST_SECRET = 16
# A service account's JSON has about 2,400.
_MOST_TOKEN = 16_384
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_NAME: TypeAdapter[str] = TypeAdapter(Label)


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source as lists show it: `path` is where the vendor posts, and who sees it still cannot sign.

    `active_secrets` is their number; 0 means that SECRETS_KEY does not open them.
    """

    workspace: str
    name: str
    connector: str
    path: str
    settings: Mapping[str, Any]
    enabled: bool
    active_secrets: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SourceSecret:
    """A new secret: shown once, stored encrypted."""

    name: str
    connector: str
    path: str
    secret: str = field(repr=False)


class SourceAdmin:
    """Use cases over the `ingest` schema. Changes reach running processes within a few seconds."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    async def add(
        self,
        workspace: str,
        name: str,
        connector: str,
        settings: Mapping[str, Any],
        *,
        secret: str | None = None,
        token: str | None = None,
    ) -> SourceSecret:
        """Add a source. `secret` is the vendor's where the vendor makes it; else one is made. `token` is the credential
        of the vendor's API, for connectors that fetch.

        Raises InvalidInput with the path of each fault, Conflict where the name is taken.
        """
        kind = _connector(connector)
        name = _checked_name(name)
        checked = configured(kind, settings)
        secret = _checked_secret(kind, checked, secret) if secret is not None else _new_secret(kind, checked)
        key = secrets.token_urlsafe(32)
        fields = {
            "workspace": workspace,
            "name": name,
            "connector": connector,
            "key": key,
            "settings": dict(settings),
            "secrets": self._sealed(workspace, name, [secret]),
            "token": None if token is None else self._sealed_token(workspace, name, kind, token),
        }
        async with self._database.unit_of_work(workspace) as uow:
            await repository.add(uow, fields)
        log.info("source_added", workspace=workspace, source=name, connector=connector)
        return SourceSecret(name, connector, PATH + key, secret)

    async def list(self, workspace: str, *, after: str = "", limit: int = 100) -> list[SourceView]:
        """Sources by name, those after `after`."""
        async with self._database.reader(workspace) as reader:
            return [self._view(row) for row in await repository.page(reader, workspace, after, limit)]

    async def ready(self, workspace: str, name: str) -> tuple[Source, str, bool]:
        """A source with its secrets, its path, and whether it is enabled. Raises NotFound, and CloseloopError where it
        cannot be used."""
        async with self._database.unit_of_work(workspace) as uow:
            row = await repository.one(uow, workspace, name)
        if row is None:
            raise _unknown(name)
        return source_of(row, self._cipher), PATH + row.key, row.enabled

    async def configure(self, workspace: str, name: str, settings: Mapping[str, Any]) -> SourceView:
        """Replace the settings. Raises NotFound or InvalidInput."""
        async with self._database.unit_of_work(workspace) as uow:
            row = await repository.one(uow, workspace, name, lock=True)
            if row is None:
                raise _unknown(name)
            configured(_connector(row.connector), settings)
            await repository.update(uow, workspace, name, settings=dict(settings))
            row = await repository.one(uow, workspace, name)
        log.info("source_configured", workspace=workspace, source=name)
        return self._view(row)

    async def rotate(self, workspace: str, name: str, *, secret: str | None = None) -> SourceSecret:
        """A new secret; the one before stays good until `retire` or the next rotation, so that no delivery is refused.

        Raises NotFound or InvalidInput.
        """
        async with self._database.unit_of_work(workspace) as uow:
            row = await repository.one(uow, workspace, name, lock=True)
            if row is None:
                raise _unknown(name)
            kind = _connector(row.connector)
            checked = configured(kind, row.settings)
            new = _checked_secret(kind, checked, secret) if secret is not None else _new_secret(kind, checked)
            active = [new, *(old for old in open_secrets(self._cipher, row) if old != new)][:_ACTIVE_SECRETS]
            await repository.update(uow, workspace, name, secrets=self._sealed(workspace, name, active))
        log.info("source_rotated", workspace=workspace, source=name)
        return SourceSecret(name, row.connector, PATH + row.key, new)

    async def set_token(self, workspace: str, name: str, token: str) -> None:
        """Replace the credential of the vendor's API; what waits for it is fetched at once. Raises NotFound or
        InvalidInput."""
        async with self._database.unit_of_work(workspace) as uow:
            row = await repository.one(uow, workspace, name, lock=True)
            if row is None:
                raise _unknown(name)
            sealed = self._sealed_token(workspace, name, _connector(row.connector), token)
            await repository.update(uow, workspace, name, token=sealed)
        log.info("source_token_set", workspace=workspace, source=name)

    async def retire(self, workspace: str, name: str) -> int:
        """Make every secret but the newest useless; how many. Raises NotFound."""
        async with self._database.unit_of_work(workspace) as uow:
            row = await repository.one(uow, workspace, name, lock=True)
            if row is None:
                raise _unknown(name)
            newest, *old = open_secrets(self._cipher, row)
            await repository.update(uow, workspace, name, secrets=self._sealed(workspace, name, [newest]))
        log.info("source_secrets_retired", workspace=workspace, source=name, retired=len(old))
        return len(old)

    async def disable(self, workspace: str, name: str) -> None:
        """Take no more deliveries; they are answered as if the source did not exist. Raises NotFound."""
        await self._switch(workspace, name, enabled=False)

    async def enable(self, workspace: str, name: str) -> None:
        """Undo `disable`. Raises NotFound."""
        await self._switch(workspace, name, enabled=True)

    async def _switch(self, workspace: str, name: str, *, enabled: bool) -> None:
        async with self._database.unit_of_work(workspace) as uow:
            if not await repository.update(uow, workspace, name, enabled=enabled):
                raise _unknown(name)
        log.info("source_switched", workspace=workspace, source=name, enabled=enabled)

    def _sealed(self, workspace: str, name: str, active: Sequence[str]) -> bytes:
        return self._cipher.seal(json.dumps(list(active)).encode(), secret_context(workspace, name))

    def _sealed_token(self, workspace: str, name: str, kind: Connector, token: str) -> bytes:
        return self._cipher.seal(_checked_token(kind, token).encode(), token_context(workspace, name))

    def _count(self, row: Any) -> int:
        """0 where our key does not open them: such a source takes nothing until it is rotated with the right key."""
        try:
            return len(open_secrets(self._cipher, row))
        except SettingsError:
            return 0

    def _view(self, row: Any) -> SourceView:
        return SourceView(
            workspace=row.workspace,
            name=row.name,
            connector=row.connector,
            path=PATH + row.key,
            settings=row.settings,
            enabled=row.enabled,
            active_secrets=self._count(row),
            created_at=row.created_at,
        )


def _connector(name: str) -> Connector:
    try:
        return CONNECTORS[name]
    except KeyError:
        reason = f"there is no such connector; there are {', '.join(sorted(CONNECTORS))}"
        raise invalid([Fault("connector", reason)]) from None


def _checked_name(name: str) -> str:
    try:
        checked = _NAME.validate_python(name)
    except ValidationError:
        raise invalid([Fault("name", "must be 1 to 80 printable characters")]) from None
    if checked in _RESERVED:
        raise invalid([Fault("name", f"{checked!r} is the name of our own endpoint; choose another")])
    return checked


def _checked_token(connector: Connector, token: str) -> str:
    if not isinstance(connector, FetchingConnector):
        raise invalid([Fault("token", f"is not needed: {connector.name} calls no API")])
    token = token.strip()
    if not 0 < len(token) <= _MOST_TOKEN:
        raise invalid([Fault("token", f"must be 1 to {_MOST_TOKEN} characters")])
    connector.check_token(token)
    return token


def _checked_secret(connector: Connector, settings: SourceSettings, secret: str) -> str:
    reason = None
    if len(secret) < _LEAST_SECRET or not secret.isascii() or not secret.isprintable():
        reason = f"must be at least {_LEAST_SECRET} printable ASCII characters"
    credential = connector.credential(settings)
    if reason is None and isinstance(credential, Ed25519) and not _HEX_KEY.fullmatch(secret):
        reason = "must be the public key that the vendor shows, 64 hexadecimal digits"
    if reason is None and isinstance(credential, Scheme):
        try:
            with_proof(credential, Signed(b"", {}), secret)
        except ValueError:
            reason = "must be whsec_ and base64, as Standard Webhooks has it"
    if reason is not None:
        raise invalid([Fault("secret", reason)])
    return secret


def _new_secret(connector: Connector, settings: SourceSettings) -> str:
    credential = connector.credential(settings)
    if isinstance(credential, Ed25519):
        raise invalid([Fault("secret", "is missing: give the public key that the vendor shows")])
    if credential == STANDARD_WEBHOOKS:
        return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return secrets.token_urlsafe(32)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no source {name!r}; `closeloop sources list` shows them")
