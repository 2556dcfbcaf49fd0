"""Discourse posts. Signature: `X-Discourse-Event-Signature: sha256=` + hex HMAC-SHA256 over the raw body.

The event's name and id come in headers that are not signed, so ids come from the body: the post and its version.
"""

import re
from typing import Any, ClassVar
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field

from services.ingest.decoding import decode_json, invalid, text_of
from services.ingest.sources.base import Answer, Connector, Parsed, SourceSettings, need_object, skipped
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import later
from services.ingest.sources.texts import without_tags
from shared.auth.signatures import Scheme, Signed
from shared.contracts.envelope import Label
from shared.core.errors import Fault

_SAFE = re.compile(r"[a-z_]{1,40}")
_QUOTES = re.compile(r"\[quote\b[^\]]*\].*?\[/quote\]", re.DOTALL | re.IGNORECASE)
_REGULAR_POST = 1


class Category(BaseModel):
    """What a category of the forum says about its posts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    touchpoint: Label | None = None
    department: Label | None = None
    product: Label | None = None


class DiscourseSettings(SourceSettings):
    """`own_users` are the brand's: what they write is no feedback."""

    site_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s/]+(/\S*)?$", description="To link posts: https://forum.example.com"
    )
    own_users: tuple[str, ...] = ("system", "discobot")
    skip_staff: bool = Field(default=True, description="Leave out what moderators and admins write.")
    categories: dict[str, Category] = Field(default_factory=dict, description="By category id.")


class Discourse(Connector):
    """A forum."""

    name: ClassVar[str] = "discourse"
    settings: ClassVar[type[SourceSettings]] = DiscourseSettings
    reads: ClassVar[tuple[str, ...]] = ("x-discourse-event", "x-discourse-event-type")
    proof: ClassVar[Credential] = Scheme(header="X-Discourse-Event-Signature", prefix="sha256=")

    def parse(self, settings: DiscourseSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = need_object(decode_json(_json_of(message)), "$")
        event = message.headers.get("x-discourse-event", "")
        if "ping" in body and "post" not in body:
            return Parsed(answer=Answer())
        if "post" not in body:
            topic = event if _SAFE.fullmatch(event) else next(iter(sorted(body)), "")
            if not body or not _SAFE.fullmatch(topic):
                raise invalid([Fault("$", "is no Discourse event: it has no post")])
            return skipped(topic)
        post = need_object(body["post"], "post")
        if reason := _left_out(settings, post, event):
            return skipped(reason)
        return Parsed(items=[_item(settings, post, event)])


def _json_of(message: Signed) -> bytes:
    """The site may send JSON or a form with the JSON in `payload`; the signature is over what was sent."""
    if not message.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return message.body
    try:
        form = parse_qs(text_of(message.body), strict_parsing=True, errors="strict", max_num_fields=20)
        return form["payload"][0].encode()
    except (ValueError, KeyError):
        raise invalid([Fault("$", "is a form without a readable `payload`")]) from None


def _left_out(settings: DiscourseSettings, post: dict[str, Any], event: str) -> str | None:
    user = post.get("user_id")
    if isinstance(user, int) and user <= 0:
        return "system post"
    if str(post.get("username", "")).lower() in {name.lower() for name in settings.own_users}:
        return "own post"
    if settings.skip_staff and any(post.get(flag) is True for flag in ("staff", "admin", "moderator")):
        return "staff post"
    if post.get("post_type", _REGULAR_POST) != _REGULAR_POST:
        return "no regular post"
    if event.startswith("post_") and event not in _EVENTS:
        return event if _SAFE.fullmatch(event) else "other event"
    return None


_EVENTS = {"post_created", "post_edited", "post_destroyed", "post_recovered"}


def _item(settings: DiscourseSettings, post: dict[str, Any], event: str) -> dict[str, Any]:
    number, version = post.get("id"), post.get("version", 1)
    faults = [
        Fault(f"post.{name}", "must be a whole number above 0")
        for name, value, limit in (("id", number, 2**53), ("version", version, 2**29))
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < limit
    ]
    if faults:
        raise invalid(faults)
    removed = event == "post_destroyed" or bool(post.get("deleted_at"))
    moved = post.get("deleted_at") if removed else None
    item: dict[str, Any] = {
        "public": post.get("topic_archetype") != "private_message",
        **settings.constants(),
        **_category(settings, post),
        "id": f"post/{number}",
        "revision": later(version, moved) if removed or event == "post_recovered" else later(version),
        "removed": removed,
        "kind": "message",
        "occurred_at": post.get("created_at"),
        "thread_id": f"topic/{post['topic_id']}" if "topic_id" in post else None,
        "url": _url(settings, post),
        "customer": {"handle": post.get("username"), "name": post.get("name") or None},
    }
    item.setdefault("channel", "forum")
    if not removed:
        item["title"] = post.get("topic_title") if post.get("post_number") == 1 else None
        item["text"] = plain(str(post.get("raw") or post.get("cooked") or ""))
    return item


def _category(settings: DiscourseSettings, post: dict[str, Any]) -> dict[str, Any]:
    category = settings.categories.get(str(post.get("category_id")))
    return {} if category is None else category.model_dump(exclude_none=True)


def _url(settings: DiscourseSettings, post: dict[str, Any]) -> str | None:
    if settings.site_url is None:
        return None
    base = settings.site_url.rstrip("/")
    path = post.get("post_url")
    if not isinstance(path, str) or not path.startswith("/"):
        path = f"/t/{post.get('topic_slug') or '-'}/{post.get('topic_id')}/{post.get('post_number', 1)}"
    return base + path


def plain(raw: str) -> str:
    """Words of this customer alone: quotes of others and HTML taken out."""
    return without_tags(_QUOTES.sub("", raw))
