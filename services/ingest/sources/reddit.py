"""Reddit posts and comments. Reddit has no webhooks: an app of ours on Devvit, Reddit's own platform, posts the events
of its triggers as they are, signed by Standard Webhooks with our secret. docs/connectors/reddit.md holds the app.

A trigger may fire twice and in any order, and `Submit` and `Create` both fire for one post. A deletion carries ids
alone (`postId`, `commentId`) and is final here. Times are milliseconds, and `lastModifiedAt` and `updatedAt` change
with each edit (secondary); an edit without one counts as made when it arrives. No real body was at hand.
"""

import re
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
    object_of,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import later, millis_of
from shared.auth.signatures import STANDARD_WEBHOOKS, Signed
from shared.core.errors import Fault

_TRIGGER = re.compile(r"(Post|Comment)(Submit|Create|Update|Delete)")
_PREFIXES = {"post": "t3_", "comment": "t1_"}
_TEXTS = {"post": "selftext", "comment": "body"}
_BLANKED = ("[deleted]", "[removed]")
# Words of others that a writer quotes; `>!` begins a spoiler, which is the writer's own.
_QUOTED = re.compile(r"^ {0,3}(?:>|&gt;)(?!!).*\n?", re.MULTILINE)
_APP = 3
# SubredditType of Devvit: employees_only, gold_only, private.
_CLOSED = (1, 2, 4)
_SECONDS, _MILLIS = 10**11, 10**14
_GONE = 2**53  # above every time in milliseconds


class RedditSettings(SourceSettings):
    """`own_users` are the brand's: what they write is no feedback."""

    own_users: tuple[str, ...] = Field(default=(), description="Reddit names of your own people: lale_support.")
    bots: tuple[str, ...] = Field(default=("AutoModerator",), description="Reddit names of bots.")


class Reddit(Connector):
    """The subreddits in which the relay is installed."""

    name: ClassVar[str] = "reddit"
    settings: ClassVar[type[SourceSettings]] = RedditSettings
    proof: ClassVar[Credential] = STANDARD_WEBHOOKS

    def parse(self, settings: RedditSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        if not isinstance(body.get("type"), str):
            raise invalid([Fault("type", "is missing: the relay must post the event of a trigger as it is")])
        trigger = _TRIGGER.fullmatch(body["type"])
        if trigger is None:
            return skipped("other event")
        if reason := _left_out(settings, object_of(body.get("author"))):
            return skipped(reason)
        subject, action = trigger[1].lower(), trigger[2]
        said = object_of(body.get(subject))
        if action == "Delete":
            return Parsed(items=[_item(settings, body, subject, said) | {"removed": True, "revision": _GONE}])
        if not said:
            return skipped("without its post or comment")
        item = _item(settings, body, subject, said)
        if said.get("deleted") is True or said.get(_TEXTS[subject]) in _BLANKED:
            return Parsed(items=[item | {"removed": True, "revision": _GONE}])
        title, text = said.get("title") if subject == "post" else None, said.get(_TEXTS[subject])
        text = _QUOTED.sub("", text).strip() if isinstance(text, str) else text
        if not title and not text:
            return skipped("no text of its own")
        item |= {"title": title, "text": text, "revision": _changed(said) if action == "Update" else 0}
        return Parsed(items=[item])


def _left_out(settings: RedditSettings, author: dict[str, Any]) -> str | None:
    name = word(author.get("name")).lower()
    if author.get("accountType") == _APP or name in {bot.lower() for bot in settings.bots}:
        return "bot"
    own = {user.lower().removeprefix("/").removeprefix("u/") for user in settings.own_users}
    return "own user" if name in own else None


def _item(settings: RedditSettings, body: dict[str, Any], subject: str, said: dict[str, Any]) -> dict[str, Any]:
    """All of the item but its words."""
    post = said.get("id") if subject == "post" else said.get("postId")
    link, author = said.get("permalink"), word(object_of(body.get("author")).get("name"))
    item: dict[str, Any] = {
        "public": object_of(body.get("subreddit")).get("type") not in _CLOSED,
        **settings.constants(),
        "id": _full(subject, need_id(said.get("id") or body.get(f"{subject}Id"), f"{subject}.id")),
        "kind": "message",
        "occurred_at": _millis(said.get("createdAt") or body.get("createdAt")),
        "url": f"https://www.reddit.com{link}" if word(link).startswith("/") else link or None,
        "customer": None if author in ("", *_BLANKED) else {"handle": author},
    }
    item.setdefault("channel", "reddit")
    if thread := word(post) or word(body.get("postId")):
        item["thread_id"] = _full("post", thread)
    if language := texts.language(said.get("languageCode")):
        item.setdefault("language", language)
    return item


def _full(subject: str, number: str) -> str:
    """An id with the prefix of its kind, whether it came with it or without."""
    return _PREFIXES[subject] + number.removeprefix(_PREFIXES[subject])


def _changed(said: dict[str, Any]) -> int:
    return _millis(said.get("lastModifiedAt")) or _millis(said.get("updatedAt")) or later(0, None)


def _millis(value: Any) -> int | None:
    """A time in milliseconds, where 0 stands for none; seconds and RFC 3339 are understood too."""
    if isinstance(value, int | float) and not isinstance(value, bool) and _SECONDS <= value < _MILLIS:
        return int(value)
    return millis_of(value) or None
