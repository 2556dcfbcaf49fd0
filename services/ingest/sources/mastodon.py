"""Mastodon posts, by a webhook of the instance's administration. Signature: `X-Hub-Signature: sha256=` + hex
HMAC-SHA256 over the raw body.

Such a webhook sends every post that an account of this instance writes, whoever it is for, and none of other instances.
What is not public is read only where it is to one of the brand's accounts; `mentions` leaves out the rest too.
`edited_at` is the revision. Deletions are not sent. A template of the webhook may change the body: it must be the
default. What Mastodon gives up on at once (most refusals of 4xx) is unverified.
"""

from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources import texts
from services.ingest.sources.base import (
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    need_id,
    need_object,
    object_of,
    objects,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.texts import plain
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_READ = {"status.created", "status.updated"}
_OPEN = {"public", "unlisted"}


class MastodonSettings(SourceSettings):
    """Accounts are written as Mastodon does: `lale` on this instance, `lale@other.example` on another."""

    own_accounts: tuple[str, ...] = Field(default=(), description="Your accounts: what they write is no feedback.")
    mentions: tuple[str, ...] = Field(default=(), description="Read only posts that mention one of these accounts.")


class Mastodon(Connector):
    """An instance."""

    name: ClassVar[str] = "mastodon"
    settings: ClassVar[type[SourceSettings]] = MastodonSettings
    proof: ClassVar[Credential] = Scheme(header="X-Hub-Signature", prefix="sha256=")

    def parse(self, settings: MastodonSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        event = word(body.get("event"))
        if not event:
            raise invalid([Fault("event", "is missing: take the template of the webhook away")])
        if event not in _READ:
            return skipped("other event")
        post = need_object(body.get("object"), "object")
        if reason := _left_out(settings, post):
            return skipped(reason)
        return Parsed(items=[_item(settings, post)])


def _left_out(settings: MastodonSettings, post: dict[str, Any]) -> str | None:
    account, own, wanted = object_of(post.get("account")), _names(settings.own_accounts), _names(settings.mentions)
    mentioned = _names(word(one.get("acct")) for one in objects(post.get("mentions")))
    if word(account.get("acct")).casefold() in own:
        return "own post"
    if account.get("bot") is True:
        return "bot"
    if isinstance(post.get("reblog"), dict):
        return "reblog"
    if word(post.get("visibility")) not in _OPEN and not mentioned & (own | wanted):
        return "private post to others"
    if wanted and not mentioned & wanted:
        return "mentions others"
    return None if post.get("content") or post.get("spoiler_text") else "no text"


def _item(settings: MastodonSettings, post: dict[str, Any]) -> dict[str, Any]:
    account, content, edited = object_of(post.get("account")), post.get("content"), post.get("edited_at")
    identity = need_id(post.get("id"), "object.id")
    url = word(post.get("url"))
    return {
        "channel": "mastodon",
        "public": word(post.get("visibility")) in _OPEN,
        "language": texts.language(post.get("language")),
        **settings.constants(),
        "id": identity,
        # What is no time is left for validation to refuse: 0 would be taken for a repeat.
        "revision": 0 if edited is None else millis_of(edited) or edited,
        "kind": "message",
        "occurred_at": post.get("created_at"),
        "thread_id": post.get("in_reply_to_id") or identity,
        "url": url if url.startswith("https://") else None,
        "title": post.get("spoiler_text"),
        "text": plain(content) if isinstance(content, str) else content,
        "customer": {"handle": account.get("acct"), "name": texts.name(account.get("display_name"))},
    }


def _names(accounts: Any) -> set[str]:
    return {name.lstrip("@").casefold() for name in accounts} - {""}
