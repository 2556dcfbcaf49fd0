"""Slack messages of a channel for customers. Signature: `X-Slack-Signature: v0=` + hex HMAC-SHA256 over `v0:time:body`.

A message can arrive as `message` and as `app_mention` with two event ids, so its id is channel and time. Slack repeats
a delivery that is not answered within 3 seconds.
"""

from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources.base import (
    Answer,
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    need_object,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import micros_of
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_HEARD = {"message", "app_mention"}
_SPOKEN = {"", "thread_broadcast", "file_share", "me_message"}


class SlackSettings(SourceSettings):
    """`own_users` are ids of the brand's people: what they write is no feedback."""

    own_users: tuple[str, ...] = Field(default=(), description="Slack ids of your own people: U061F7AUR.")


class Slack(Connector):
    """A workspace that customers share with the brand."""

    name: ClassVar[str] = "slack"
    settings: ClassVar[type[SourceSettings]] = SlackSettings
    proof: ClassVar[Credential] = Scheme(
        header="X-Slack-Signature",
        prefix="v0=",
        signed=("v0:", "{timestamp}", ":", "{body}"),
        timestamp_header="X-Slack-Request-Timestamp",
        tolerance_seconds=300,
    )
    success: ClassVar[int] = 200

    def parse(self, settings: SlackSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        kind = body.get("type")
        if kind == "url_verification" and isinstance(body.get("challenge"), str):
            return Parsed(answer=Answer(body=body["challenge"].encode()))
        if kind != "event_callback":
            return skipped("other event")
        event = need_object(body.get("event"), "event")
        if word(event.get("type")) not in _HEARD:
            return skipped("other event")
        return _said(settings, event)


def _said(settings: SlackSettings, event: dict[str, Any]) -> Parsed:
    subtype = word(event.get("subtype"))
    said, at = event, event.get("event_ts") or event.get("ts")
    removed = subtype == "message_deleted"
    if removed:
        said = {"ts": event.get("deleted_ts"), **need_object(event.get("previous_message"), "event.previous_message")}
    elif subtype == "message_changed":
        said = need_object(event.get("message"), "event.message")
    elif subtype not in _SPOKEN:
        return skipped("no message of a person")
    if said.get("bot_id") or said.get("subtype") == "bot_message":
        return skipped("bot")
    if word(said.get("user")) in settings.own_users:
        return skipped("own message")
    channel, first = event.get("channel"), said.get("ts")
    if not isinstance(channel, str) or micros_of(first) is None:
        raise invalid([Fault("event.ts", "is missing: channel and time are the id of a message")])
    item: dict[str, Any] = {
        **settings.constants(),
        "id": f"{channel}/{first}",
        "revision": (micros_of(at) or 0) if subtype in {"message_changed", "message_deleted"} else 0,
        "removed": removed,
        "kind": "message",
        "occurred_at": (micros_of(first) or 0) / 1_000_000,
        "thread_id": f"{channel}/{said.get('thread_ts') or first}",
        "customer": {"handle": said.get("user")},
    }
    item.setdefault("channel", "slack")
    if not removed:
        item["text"] = said.get("text")
    return Parsed(items=[item])
