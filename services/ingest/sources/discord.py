"""Discord: what people send by `/feedback`, and messages of lobbies and direct messages in games.

Signature: Ed25519 in `X-Signature-Ed25519` (hex) over time and body, the time in `X-Signature-Timestamp`; the "secret"
is the app's public key. Discord probes with wrong signatures and wants 401. It sends two kinds of requests, and type 1
means an event in one and a ping in the other: only events have an `event`. Events are answered with 204, interactions
with a message or a form, all within 3 seconds. Messages of servers never come this way (docs/connectors/discord.md).

Ids are snowflakes, which hold the time of what they name. Events may come in any order and their own time lacks its
zone, which is taken for UTC (unverified).
"""

import json
import re
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources.base import (
    Answer,
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
from services.ingest.sources.revisions import later, millis_of
from shared.auth.signatures import Ed25519, Signed
from shared.core.errors import Fault

_PING, _PING_OR_EVENT, _COMMAND, _MODAL = 0, 1, 2, 5
_MESSAGE = re.compile(r"(?:LOBBY|GAME_DIRECT)_MESSAGE_(CREATE|UPDATE|DELETE)")
_WRITTEN = (None, 0, 19)  # a message and a reply; the other types are notices
_TYPED = (3, 4)  # a text option of a command, a text input of a form
_EPOCH = 1_420_070_400_000
_EPHEMERAL = 64
_PARAGRAPH = 2
_GONE = 2**53  # above every time in milliseconds


class DiscordSettings(SourceSettings):
    """`own_users` are the brand's people: what they write is no feedback."""

    own_users: tuple[str, ...] = Field(default=(), description="Ids or names of your own people.")
    commands: tuple[str, ...] = Field(default=("feedback",), description="Slash commands that give feedback.")
    question: str = Field(default="What would you like to tell us?", min_length=1, max_length=45)
    thanks: str = Field(default="Thank you. We have your feedback.", min_length=1, max_length=2000)


class Discord(Connector):
    """An app: its interactions, its webhook events, or both."""

    name: ClassVar[str] = "discord"
    settings: ClassVar[type[SourceSettings]] = DiscordSettings
    proof: ClassVar[Credential] = Ed25519(header="X-Signature-Ed25519", timestamp_header="X-Signature-Timestamp")
    success: ClassVar[int] = 204

    def parse(self, settings: DiscordSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        kind = body.get("type")
        if not isinstance(kind, int):
            raise invalid([Fault("type", "is missing: this is neither an event nor an interaction of Discord")])
        if kind == _PING:
            # Discord asks for a content type even where there is no content.
            return Parsed(answer=Answer(204, headers={"content-type": "application/json"}))
        if kind == _PING_OR_EVENT:
            return _event(settings, body) if "event" in body else Parsed(answer=_answer({"type": 1}))
        if kind == _COMMAND and word(object_of(body.get("data")).get("name")) not in settings.commands:
            return skipped("other command")
        return _interaction(settings, body, kind) if kind in (_COMMAND, _MODAL) else skipped("other interaction")


def _event(settings: DiscordSettings, body: dict[str, Any]) -> Parsed:
    event = need_object(body["event"], "event")
    kind = _MESSAGE.fullmatch(word(event.get("type")))
    if kind is None:
        return skipped("other event")
    said, action = need_object(event.get("data"), "event.data"), kind[1]
    author = object_of(said.get("author"))
    if reason := "bot" if said.get("webhook_id") else _left_out(settings, author):
        return skipped(reason)
    item = _item(settings, said.get("id"), "event.data.id", author)
    place = [(name, said.get(f"{name}_id")) for name in ("lobby", "channel")]
    item["thread_id"] = next((f"{name}/{number}" for name, number in place if isinstance(number, str) and number), None)
    if action == "DELETE":
        return Parsed(items=[item | {"removed": True, "revision": _GONE}])
    if said.get("type") not in _WRITTEN:
        return skipped("notice")
    if not said.get("content"):
        return skipped("no text")
    edited = _edited(event, said) if action == "UPDATE" else 0
    return Parsed(items=[item | {"text": said["content"], "revision": edited}])


def _interaction(settings: DiscordSettings, body: dict[str, Any], kind: int) -> Parsed:
    author = object_of(object_of(body.get("member")).get("user")) or object_of(body.get("user"))
    thanks = _answer({"type": 4, "data": {"content": settings.thanks, "flags": _EPHEMERAL}})
    if reason := _left_out(settings, author):
        return replace(skipped(reason), answer=thanks)
    text = "\n\n".join(_typed(object_of(body.get("data"))))
    if not text and kind == _COMMAND:
        return replace(skipped("form opened"), answer=_form(settings))
    if not text:
        return replace(skipped("no text"), answer=thanks)
    item = _item(settings, body.get("id"), "id", author) | {"text": text}
    if re.match(r"[A-Za-z]{2}(?![A-Za-z])", locale := word(body.get("locale"))):
        item.setdefault("language", locale)
    return Parsed(items=[item], answer=thanks)


def _left_out(settings: DiscordSettings, author: dict[str, Any]) -> str | None:
    if author.get("bot") is True or author.get("system") is True:
        return "bot"
    own = {user.lower().removeprefix("@") for user in settings.own_users}
    return "own user" if own & {word(author.get("id")), word(author.get("username")).lower()} else None


def _item(settings: DiscordSettings, snowflake: Any, where: str, author: dict[str, Any]) -> dict[str, Any]:
    """All of the item but its words."""
    number = need_id(snowflake, where)
    if not number.isascii() or not number.isdecimal() or len(number) > 20:
        raise invalid([Fault(where, "is no id of Discord: those are digits")])
    item: dict[str, Any] = {
        **settings.constants(),
        "id": number,
        "kind": "message",
        "occurred_at": (int(number) >> 22) + _EPOCH,
    }
    item.setdefault("channel", "discord")
    if handle := author.get("username") or author.get("id"):
        item["customer"] = {"handle": handle, "name": author.get("global_name") or None}
    return item


def _typed(part: dict[str, Any]) -> list[str]:
    """What was typed, in its order: options of a command, inputs of a form inside their rows or labels."""
    texts = []
    for one in [*objects(part.get("options")), *objects(part.get("components")), *objects([part.get("component")])]:
        if one.get("type") in _TYPED and word(one.get("value")).strip():
            texts.append(word(one.get("value")).strip())
        texts += _typed(one)
    return texts


def _edited(event: dict[str, Any], said: dict[str, Any]) -> int:
    stamp = word(event.get("timestamp"))
    return millis_of(said.get("edited_timestamp")) or millis_of(stamp) or millis_of(f"{stamp}+00:00") or later(0, None)


def _form(settings: DiscordSettings) -> Answer:
    """A form that asks for the text, to a command that came without."""
    field = {"type": 4, "custom_id": "text", "style": _PARAGRAPH, "required": True}
    label = {"type": 18, "label": settings.question, "component": field}
    return _answer({"type": 9, "data": {"custom_id": "feedback", "title": settings.question, "components": [label]}})


def _answer(document: dict[str, Any]) -> Answer:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(body=body, content_type="application/json")
