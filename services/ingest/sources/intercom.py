"""Intercom conversations: what customers write and how they rate it. Signature: `X-Hub-Signature: sha1=` + hex
HMAC-SHA1 over the raw body with the app's client secret (secondary). No time is signed; ids and revisions make a replay
harmless.

Older API versions send the customer as `user` or `customers` and the first message as `conversation_message`, newer
ones as `contacts` and `source`: both are read. No real body of a rating was at hand, its form is the documented one;
those of deletions are from third parties' captures, and so is the HEAD request that comes before the first delivery.
"""

from collections.abc import Sequence
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
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.proof import Credential
from services.ingest.sources.revisions import millis_of
from services.ingest.sources.texts import plain
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_CREATED, _REPLIED = "conversation.user.created", "conversation.user.replied"
_RATED, _REDACTED = "conversation.rating.added", "conversation_part.redacted"
_DELETED = "conversation.deleted"
_TEAM = {"admin", "bot", "team"}
_CUSTOMERS = {"user", "lead", "contact", "visitor"}
_CHANNELS = {"email", "facebook", "instagram", "sms", "twitter", "whatsapp"}
_PERSON = FieldMap({"customer.id": "external_id", "customer.email": "email", "customer.name": "name"})


class IntercomSettings(SourceSettings):
    """`own_users` are people of the brand who write in as if they were customers."""

    own_users: tuple[str, ...] = Field(
        default=(), description="Intercom's or your own ids, or e-mail addresses, of your people."
    )


class Intercom(Connector):
    """A workspace."""

    name: ClassVar[str] = "intercom"
    busy: ClassVar[int] = 503  # of a 429 it drops what it throttles
    settings: ClassVar[type[SourceSettings]] = IntercomSettings
    proof: ClassVar[Credential] = Scheme(header="X-Hub-Signature", digest="sha1", prefix="sha1=")

    def greet(self, settings: Any, message: Signed, secrets: Sequence[str], key: str) -> Answer | None:
        """See Connector."""
        del settings, secrets, key
        return Answer() if message.method == "HEAD" else None

    def parse(self, settings: IntercomSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        topic = word(body.get("topic"))
        if not topic:
            raise invalid([Fault("topic", "is missing: this is no Intercom notification")])
        if topic == "ping":
            return Parsed(answer=Answer())
        if topic == "ticket.rating.provided":
            raise invalid([Fault("topic", "is a rating in a form that Intercom has not published; unsubscribe it")])
        if topic not in {_CREATED, _REPLIED, _RATED, _REDACTED, _DELETED}:
            return skipped("other topic")
        conversation = need_object(object_of(body.get("data")).get("item"), "data.item")
        if topic == _RATED:
            return _rated(settings, conversation, body.get("created_at"))
        if topic == _DELETED:
            return _deleted(settings, conversation, body.get("created_at"))
        parsed = Parsed()
        for kind, said in _messages(conversation, topic):
            person = _person(conversation, object_of(said.get("author")))
            item = _item(settings, conversation, person) | {
                "id": f"{kind}/{need_id(said.get('id'), 'data.item')}",
                "kind": "message",
                "occurred_at": said.get("created_at"),
            }
            if topic == _REDACTED:
                item |= {"removed": True, "revision": millis_of(body.get("created_at")) or 0}
            else:
                item |= {"revision": millis_of(said.get("updated_at") or said.get("created_at")) or 0, **_words(said)}
            if reason := _left_out(settings, said, person, item):
                parsed.skipped[reason] += 1
            else:
                parsed.items.append(item)
        return parsed


def _messages(conversation: dict[str, Any], topic: str) -> list[tuple[str, dict[str, Any]]]:
    """What was said, each with the kind of its id: the first message and the later parts are numbered apart."""
    first = {"created_at": conversation.get("created_at"), **_first(conversation)}
    listed = objects(object_of(conversation.get("conversation_parts")).get("conversation_parts"))
    said = [("part", part) for part in listed]
    if topic == _CREATED:
        said.insert(0, ("message", first))
    elif topic == _REDACTED:
        # Newer API versions mark what was deleted; older ones send nothing but that.
        said = [("part", part) for part in listed if part.get("redacted") is not False]
        if first.get("redacted") is True:
            said.append(("message", first))
    if not said:
        raise invalid([Fault("data.item.conversation_parts", "has no message in it")])
    return said


def _first(conversation: dict[str, Any]) -> dict[str, Any]:
    return object_of(conversation.get("source")) or object_of(conversation.get("conversation_message"))


def _words(said: dict[str, Any]) -> dict[str, Any]:
    text = said.get("body")
    title = plain(word(said.get("subject")))
    return {"title": title or None, "text": plain(text) if isinstance(text, str) else text}


def _left_out(
    settings: IntercomSettings, said: dict[str, Any], person: dict[str, Any], item: dict[str, Any]
) -> str | None:
    if word(object_of(said.get("author")).get("type")) not in _CUSTOMERS:
        return "not by a customer"
    if _own(settings, person):
        return "own message"
    if not item.get("removed") and item["text"] in (None, ""):
        return "no text"
    return None


def _rated(settings: IntercomSettings, conversation: dict[str, Any], notified: Any) -> Parsed:
    """The rating of a conversation. It is sent again when the customer changes it or adds a remark."""
    rating = need_object(conversation.get("conversation_rating"), "data.item.conversation_rating")
    person = _person(conversation, object_of(rating.get("contact")) or object_of(rating.get("customer")))
    if _own(settings, person):
        return skipped("own message")
    item = _item(settings, conversation, person) | {
        "id": f"rating/{need_id(conversation.get('id'), 'data.item.id')}",
        "revision": millis_of(notified) or millis_of(conversation.get("updated_at")) or 0,
        "occurred_at": rating.get("created_at"),
        "survey": settings.survey("intercom-conversation-rating"),
        "ratings": [{"metric": "csat", "value": rating.get("rating"), "scale_min": 1, "scale_max": 5}],
        "text": rating.get("remark"),
    }
    return Parsed(items=[item])


def _deleted(settings: IntercomSettings, conversation: dict[str, Any], notified: Any) -> Parsed:
    """Of a deleted conversation only the id is sent: it is known what its rating was called, not what was said."""
    number = need_id(conversation.get("conversation_id") or conversation.get("id"), "data.item.conversation_id")
    revision = millis_of(notified) or 0
    return Parsed(items=[{**settings.constants(), "id": f"rating/{number}", "revision": revision, "removed": True}])


def _item(settings: IntercomSettings, conversation: dict[str, Any], person: dict[str, Any]) -> dict[str, Any]:
    channel = word(_first(conversation).get("type"))
    item = {
        **settings.constants(),
        "thread_id": f"conversation/{need_id(conversation.get('id'), 'data.item.id')}",
        "url": object_of(conversation.get("links")).get("conversation_web"),
        "customer": {},
    }
    item.setdefault("channel", channel if channel in _CHANNELS else "chat")
    _PERSON.fill(item, person)
    if not item["customer"].keys() & {"id", "email"}:
        item["customer"]["handle"] = person.get("id")
    return item


def _person(conversation: dict[str, Any], author: dict[str, Any]) -> dict[str, Any]:
    """All that the notification says about an author; without one, about its first customer."""
    contacts = object_of(conversation.get("contacts")).get("contacts")
    listed = [conversation.get("user"), *objects(conversation.get("customers")), *objects(contacts)]
    everybody = map(object_of, (*listed, _first(conversation).get("author"), author))
    people = [one for one in everybody if word(one.get("type")) not in _TEAM]
    identity = author.get("id") or next((one["id"] for one in people if one.get("id")), None)
    same = [one for one in people if one.get("id") == identity]
    known = {name: value for one in same for name, value in one.items() if value not in (None, "")}
    # What a lead has as user_id is made up by Intercom.
    if "external_id" not in known and all(one.get("type") != "lead" for one in same):
        known["external_id"] = known.get("user_id")
    return known


def _own(settings: IntercomSettings, person: dict[str, Any]) -> bool:
    names = {word(person.get(name)).lower() for name in ("id", "external_id", "email")}
    return not names.isdisjoint(name.lower() for name in settings.own_users)
