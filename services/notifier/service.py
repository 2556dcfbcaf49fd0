"""What people may do: look at follow-ups, send one again, change plays and addresses, unsubscribe."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.notifier import changes
from services.notifier.addresses import plain_email
from services.notifier.catalogue import Catalogue
from services.notifier.domain import Playbook
from services.notifier.messages import Signer
from services.notifier.plans import PlayShelf
from services.notifier.repository import choices, followups
from services.notifier.wording import Words
from shared.auth.keys import Principal
from shared.core.clock import rfc3339
from shared.core.errors import Conflict, Fault, InvalidInput, NotFound
from shared.db.database import Database
from shared.http.outbound import OutboundClient

_RESENDABLE = ("unknown", "failed")
_NO_FOLLOWUP = "there is no such follow-up"


@dataclass(frozen=True, slots=True)
class PlaysInForce:
    """The plays of a workspace: `version` is a number, `default`, or `file-…`; `content` is the YAML."""

    version: str
    content: str
    created_at: datetime | None
    created_by: str | None
    book: Playbook


class NotifierService:
    """The use cases. Everything runs as the workspace of who asks, under row-level security."""

    def __init__(
        self, database: Database, shelf: PlayShelf, catalogue: Catalogue, signer: Signer, client: OutboundClient
    ) -> None:
        self._database = database
        self._shelf = shelf
        self._catalogue = catalogue
        self._signer = signer
        self._client = client

    async def prepare(self) -> None:
        """Read the installation's key, or make it at the first start."""
        async with self._database.unit_of_work() as uow:
            self._signer.use(await choices.installation_key(uow))

    # Follow-ups

    async def page(
        self, who: Principal, filters: Mapping[str, Any], cursor: str | None, limit: int
    ) -> tuple[list[Any], str | None]:
        """Follow-ups, newest first, and the cursor of the next page. Raises InvalidInput for a foreign cursor."""
        async with self._database.reader(who.workspace) as reader:
            rows = await followups.page(reader, filters, _read_cursor(cursor), limit + 1)
        more = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return list(rows[:limit]), more

    async def read(self, who: Principal, identifier: UUID) -> tuple[Any, list[Any]]:
        """One follow-up with its ledger of attempts. Raises NotFound."""
        async with self._database.reader(who.workspace) as reader:
            row, attempts = await followups.read(reader, identifier)
        if row is None:
            raise NotFound(_NO_FOLLOWUP)
        return row, list(attempts)

    async def resend(self, who: Principal, identifier: UUID) -> Any:
        """Send an unknown or failed follow-up once more, with the same ids, now. Raises NotFound, Conflict."""
        async with self._database.unit_of_work(who.workspace) as uow:
            row = await followups.get(uow, who.workspace, identifier)
            if row is None:
                raise NotFound(_NO_FOLLOWUP)
            if row.state not in _RESENDABLE:
                raise Conflict(f"it is {row.state}; only {' and '.join(_RESENDABLE)} ones can be sent again")
            planned = await followups.plan_again(uow, who.workspace, identifier, f"sent again by {who.name}")
            changes.publish(uow, [planned])
            await followups.wake_delivery(uow)
        return planned

    # Plays

    async def plays(self, who: Principal) -> PlaysInForce:
        """What is in force."""
        async with self._database.reader(who.workspace) as reader:
            row = (await choices.newest_plays(reader, [who.workspace])).get(who.workspace)
        book = self._shelf.of(who.workspace, row)
        if row is None:
            return PlaysInForce(book.version, self._shelf.content, None, None, book)
        return PlaysInForce(str(row.version), row.content, row.created_at, row.created_by, book)

    async def put_plays(self, who: Principal, body: bytes) -> PlaysInForce:
        """Put a play file in force as a new version. Raises InvalidInput with lines and reasons; then nothing
        changes."""
        try:
            content = body.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            raise InvalidInput(
                "the play file is refused, the old one stays in force: it is not UTF-8",
                faults=[Fault("line 1: file", "not UTF-8")],
            ) from None
        self._shelf.check(content, "new")
        async with self._database.unit_of_work(who.workspace) as uow:
            await choices.add_plays(uow, who.workspace, content, who.name)
        return await self.plays(who)

    # Addresses

    async def destinations(self, who: Principal) -> list[Any]:
        """Where agents and managers are told; secrets are not among it."""
        async with self._database.reader(who.workspace) as reader:
            return list((await choices.destinations(reader, [who.workspace])).values())

    async def set_destination(
        self, who: Principal, audience: str, transport: str, address: str, *, rotate: bool
    ) -> tuple[Any, str | None]:
        """Set an address; the row and, for a webhook, the secret that signs it. Raises InvalidInput for an address
        behind the wall. An endpoint that was disabled is enabled again."""
        if transport == "email":
            if (plain := plain_email(address)) is None:
                raise InvalidInput("address: write one plain e-mail address", faults=[Fault("address", "not one")])
            address = plain
        else:
            self._client.check(address)
        async with self._database.unit_of_work(who.workspace) as uow:
            row = await choices.set_destination(uow, who.workspace, audience, transport, address, rotate=rotate)
        if transport != "webhook":
            return row, None
        return row, self._signer.webhook_secret(who.workspace, audience, row.secret_version)

    async def remove_destination(self, who: Principal, audience: str, transport: str) -> None:
        """Forget an address. Raises NotFound."""
        async with self._database.unit_of_work(who.workspace) as uow:
            if not await choices.remove_destination(uow, who.workspace, audience, transport):
                raise NotFound("there is no such destination")

    # Who wants no mail

    async def suppressions(self, who: Principal, limit: int) -> list[Any]:
        """The newest entries of the list."""
        async with self._database.reader(who.workspace) as reader:
            return list(await choices.suppressions(reader, limit))

    async def suppress(self, who: Principal, email: str) -> None:
        """Put somebody on the list, on a colleague's word. Raises InvalidInput."""
        async with self._database.unit_of_work(who.workspace) as uow:
            await choices.suppress(uow, who.workspace, _checked(email), f"entered by {who.name}")

    async def allow_again(self, who: Principal, email: str) -> None:
        """Take somebody off the list. Raises NotFound."""
        async with self._database.unit_of_work(who.workspace) as uow:
            if not await choices.allow_again(uow, who.workspace, _checked(email)):
                raise NotFound("this address is not on the list")

    async def unsubscribe_words(self, token: str) -> Words:
        """The words of the page behind an unsubscribe link. Raises NotFound for a token that is not ours."""
        _, row = await self._linked(token)
        return self._catalogue.words(row.language)

    async def unsubscribe(self, token: str) -> Words:
        """Unsubscribe the person that the link's message went to; again is as good. Raises NotFound."""
        workspace, row = await self._linked(token)
        if email := plain_email(row.recipient):
            async with self._database.unit_of_work(workspace) as uow:
                await choices.suppress(uow, workspace, email, "by the link in a message")
        return self._catalogue.words(row.language)

    async def _linked(self, token: str) -> tuple[str, Any]:
        if (found := self._signer.read_token(token)) is None:
            raise NotFound("this link is not valid; use the one in your latest message")
        workspace, identifier = found
        async with self._database.reader(workspace) as reader:
            row, _ = await followups.read(reader, identifier)
        if row is None:
            raise NotFound("this link is not valid any more; use the one in your latest message")
        return workspace, row


def _checked(email: str) -> str:
    if (plain := plain_email(email)) is None:
        raise InvalidInput("email: write one plain e-mail address", faults=[Fault("email", "not one plain address")])
    return plain


def _cursor(row: Any) -> str:
    text = json.dumps([rfc3339(row.created_at), str(row.id)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        created_at, identifier = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None:
            raise ValueError
        return moment, UUID(identifier)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise InvalidInput(
            "cursor: take it from `next` of the page before", faults=[Fault("cursor", "not one of ours")]
        ) from None
