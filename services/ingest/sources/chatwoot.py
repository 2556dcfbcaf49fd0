"""Chatwoot: what customers write, and what they answer when they are asked how it was.

Signature: `X-Chatwoot-Signature: sha256=` + hex HMAC-SHA256 over `time.body`, the time in `X-Chatwoot-Timestamp`
(secondary: five receivers and copies of Chatwoot's code agree). Older versions sign nothing: `signed: false` makes the
address the only proof. Chatwoot has no event for a rating: it changes the message that asked (secondary).

A body does not say when its message changed. The conversation in it does, which every change of a message touches: in
`updated_at`, or on the message itself where it is the last one; else an edit counts as made when it arrives.
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
    object_of,
    objects,
    skipped,
    word,
)
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.paths import find
from services.ingest.sources.proof import Address, Credential
from services.ingest.sources.revisions import later, millis_of
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_CHANNELS = {
    "Channel::Email": "email",
    "Channel::FacebookPage": "facebook",
    "Channel::Instagram": "instagram",
    "Channel::Line": "line",
    "Channel::Sms": "sms",
    "Channel::Telegram": "telegram",
    "Channel::Whatsapp": "whatsapp",
}
_CONTACT = ("conversation", "meta", "sender")
_RATED = ("content_attributes", "submitted_values", "csat_survey_response")
_DELETED = ("content_attributes", "deleted")
_LANGUAGES = (
    ("conversation", "additional_attributes", "conversation_language"),
    ("conversation", "additional_attributes", "browser_language"),
)
_GONE = 2**53  # above every time in milliseconds


class ChatwootSettings(SourceSettings):
    """`own_contacts` are the brand's people who test the chat: what they write is no feedback."""

    signed: bool = Field(default=True, description="False for versions of Chatwoot that do not sign.")
    own_contacts: tuple[str, ...] = Field(default=(), description="E-mail addresses or identifiers of your own people.")


class Chatwoot(Connector):
    """An account of Chatwoot."""

    name: ClassVar[str] = "chatwoot"
    settings: ClassVar[type[SourceSettings]] = ChatwootSettings
    proof: ClassVar[Credential] = Scheme(
        header="X-Chatwoot-Signature",
        prefix="sha256=",
        signed=("{timestamp}", ".", "{body}"),
        timestamp_header="X-Chatwoot-Timestamp",
        tolerance_seconds=300,
    )
    fields: ClassVar[FieldMap] = FieldMap(
        {
            "customer.id": "identifier",
            "customer.email": "email",
            "customer.phone": "phone_number",
            "customer.name": "name",
        }
    )

    def credential(self, settings: ChatwootSettings) -> Credential:
        """See Connector."""
        return self.proof if settings.signed else Address()

    def parse(self, settings: ChatwootSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        event = body.get("event")
        if not isinstance(event, str):
            raise invalid([Fault("event", "is missing: this is no delivery of a Chatwoot webhook")])
        if event not in ("message_created", "message_updated"):
            return skipped("other event")
        asked = body.get("content_type") == "input_csat"
        reason = _unanswered(body) if asked else _left_out(body)
        contact = object_of(find(body, _CONTACT)) or object_of(body.get("sender"))
        own = {one.lower() for one in settings.own_contacts}
        if not reason and own & {word(contact.get("email")).lower(), word(contact.get("identifier")).lower()}:
            reason = "own contact"
        if reason:
            return skipped(reason)
        item = self.fields.fill(_item(settings, body, contact), contact)
        changed = _changed(body)
        if asked:
            return Parsed(items=[item | _rating(settings, body, changed)])
        if find(body, _DELETED) is True:
            return Parsed(items=[item | {"removed": True, "revision": _GONE}])
        if event == "message_updated":
            item["revision"] = changed or later(0, None)
        return Parsed(items=[item | {"text": body["content"]}])


def _unanswered(body: dict[str, Any]) -> str | None:
    """The message that asks is sent first, and again with the answer in it."""
    return None if object_of(find(body, _RATED)) else "question"


def _left_out(body: dict[str, Any]) -> str | None:
    if body.get("private") is True:
        return "private note"
    if body.get("message_type") != "incoming":
        return "own message" if body.get("message_type") == "outgoing" else "notice"
    if word(object_of(body.get("sender")).get("type")) not in ("", "contact"):
        return "bot"
    return None if body.get("content") or find(body, _DELETED) is True else "no text"


def _item(settings: ChatwootSettings, body: dict[str, Any], contact: dict[str, Any]) -> dict[str, Any]:
    """All of the item but who and what."""
    conversation = object_of(body.get("conversation"))
    item: dict[str, Any] = {
        **settings.constants(),
        "id": need_id(body.get("id"), "id"),
        "kind": "message",
        "occurred_at": _moment(body.get("created_at")),
    }
    item.setdefault("channel", _CHANNELS.get(word(conversation.get("channel")), "chat"))
    if isinstance(thread := conversation.get("id"), int | str):
        item["thread_id"] = f"conversation/{thread}"
    account, number = find(body, ("account", "id")), contact.get("id")
    if isinstance(account, int | str) and isinstance(number, int | str):
        # A visitor without an address has nothing else, and with its account it is nobody else's number.
        item["customer"] = {"handle": f"chatwoot/{account}/{number}"}
    language = next((code for path in _LANGUAGES if (code := texts.language(find(body, path)))), None)
    if language:
        item.setdefault("language", language)
    return item


def _rating(settings: ChatwootSettings, body: dict[str, Any], changed: int | None) -> dict[str, Any]:
    answer = object_of(find(body, _RATED))
    return {
        "kind": "survey_response",
        "survey": settings.survey("csat"),
        "ratings": [{"metric": "csat", "value": answer.get("rating"), "scale_min": 1, "scale_max": 5}],
        "text": answer.get("feedback_message"),
        "revision": changed or later(0, None),
        "occurred_at": changed or _moment(body.get("created_at")),
    }


def _changed(body: dict[str, Any]) -> int | None:
    """When the message changed last, in milliseconds, by the latest of the times that tell."""
    conversation = object_of(body.get("conversation"))
    same = [one for one in objects(conversation.get("messages")) if one.get("id") == body.get("id")]
    times = (millis_of(one.get("updated_at")) for one in (body, conversation, *same))
    return max((time for time in times if time), default=None)


def _moment(value: Any) -> Any:
    """`2020-03-03 13:05:57 UTC` is how some versions write it."""
    return value.removesuffix(" UTC") + "Z" if isinstance(value, str) and value.endswith(" UTC") else value
