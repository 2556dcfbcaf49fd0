"""Telegram messages to a bot, or in groups that it is in. Nothing is signed: Telegram repeats the `secret_token` of
`setWebhook` in `X-Telegram-Bot-Api-Secret-Token`.

A `message_id` counts within its chat, so both are the id; ids are numbers of up to 52 bits. Bots aren't told of
deletions. `edit_date` is in whole seconds: of two edits within one only the first is read. `language_code` is the
language of the sender's app. How often Telegram repeats what was not taken ("a reasonable amount") is unverified.
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
    need_object,
    object_of,
    skipped,
    word,
)
from services.ingest.sources.proof import Bearer, Credential
from services.ingest.sources.revisions import millis_of
from shared.auth.signatures import Signed
from shared.core.errors import Fault

_READ = ("message", "edited_message", "channel_post", "edited_channel_post")
_COMMAND = re.compile(r"/[A-Za-z0-9_]{1,32}(@\w+)?(\s|$)")


class TelegramSettings(SourceSettings):
    """`own_users` are the brand's people: what they write is no feedback."""

    own_users: tuple[str, ...] = Field(default=(), description="Ids or @names of your own people.")


class Telegram(Connector):
    """A bot."""

    name: ClassVar[str] = "telegram"
    settings: ClassVar[type[SourceSettings]] = TelegramSettings
    proof: ClassVar[Credential] = Bearer(header="X-Telegram-Bot-Api-Secret-Token")

    def parse(self, settings: TelegramSettings, message: Signed) -> Parsed:
        """See Connector."""
        update = json_object(message)
        if "update_id" not in update:
            raise invalid([Fault("update_id", "is missing: this is no update of Telegram")])
        kind = next((name for name in _READ if name in update), None)
        if kind is None:
            return skipped("other update")
        said = need_object(update[kind], kind)
        if reason := _left_out(settings, kind, said):
            return skipped(reason)
        return Parsed(items=[_item(settings, kind, said)])


def _left_out(settings: TelegramSettings, kind: str, said: dict[str, Any]) -> str | None:
    sender = object_of(said.get("from"))
    # A channel speaks for itself; what it writes comes into its group as from Telegram, who is no bot.
    if said.get("is_automatic_forward") is True or (kind.endswith("channel_post") and not sender):
        return "channel's own post"
    if sender.get("is_bot") is True:
        return "bot"
    own = {name.lstrip("@").casefold() for name in settings.own_users}
    if ({_number(sender.get("id")), word(sender.get("username")).casefold()} - {""}) & own:
        return "own message"
    text = _text(said)
    if not text:
        return "no text"
    return "command" if _COMMAND.match(word(text)) else None


def _item(settings: TelegramSettings, kind: str, said: dict[str, Any]) -> dict[str, Any]:
    chat, sender = need_object(said.get("chat"), f"{kind}.chat"), object_of(said.get("from"))
    number, place = need_id(said.get("message_id"), f"{kind}.message_id"), need_id(chat.get("id"), f"{kind}.chat.id")
    edited = kind.startswith("edited_")
    revision = millis_of(said.get("edit_date")) if edited else 0
    if revision is None:
        raise invalid([Fault(f"{kind}.edit_date", "is missing: it tells the edit from the message")])
    topic = _number(said.get("message_thread_id"))
    group = word(chat.get("username"))
    public = chat.get("type") != "private"
    name = " ".join(filter(None, (word(sender.get("first_name")), word(sender.get("last_name")))))
    return {
        "channel": "telegram",
        "public": public,
        "language": texts.language(sender.get("language_code")),
        **settings.constants(),
        "id": f"{place}/{number}",
        "revision": revision,
        "kind": "message",
        "occurred_at": said.get("date"),
        "thread_id": f"{place}/{topic}" if topic else place,
        "url": f"https://t.me/{group}/{number}" if public and group else None,
        "text": _text(said),
        "customer": {"handle": _number(sender.get("id")) or None, "name": texts.name(name)},
    }


def _text(said: dict[str, Any]) -> Any:
    return said.get("text") or said.get("caption")


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else word(value)
