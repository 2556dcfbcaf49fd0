"""Facebook Pages and Instagram. Signature: `X-Hub-Signature-256: sha256=` + hex HMAC-SHA256 over the raw body with the
app secret (secondary sources). A GET with `hub.challenge` asks who is here; the bare challenge is the answer.

Nothing carries a version, so an edit, a hiding or a removal has the time of its entry as revision. Instagram says that
this is when the notification was sent; whether a repeated delivery has a new time is unverified. What the brand hides
stays feedback, only no longer public. Older API versions have `sender_id` in place of `from`, and ids as numbers. Of a
mention on Instagram only ids are told: it is fetched (Graph API, `mentioned_comment` and `mentioned_media`).
"""

import hmac
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources import texts
from services.ingest.sources.base import (
    Answer,
    Parsed,
    Wanted,
    json_object,
    need_object,
    object_of,
    objects,
    skipped,
    word,
)
from services.ingest.sources.fetching import (
    ApiUrl,
    Fetched,
    FetchingConnector,
    FetchSettings,
    Request,
    answer_object,
)
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.proof import Credential
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_CHANNELS = {"page": "facebook", "instagram": "instagram"}
_CHALLENGE = re.compile(r"[0-9]{1,40}")
_COMMENT = FieldMap({"id": "comment_id", "text": "message", "thread_id": "post_id", "occurred_at": "created_time"})
_POST = FieldMap({"id": "post_id", "text": "message", "thread_id": "post_id", "occurred_at": "created_time"})
_INSTAGRAM = FieldMap({"id": "id", "text": "text", "thread_id": "media.id"})
_STORY = {"thread_id": "open_graph_story_id", "occurred_at": "created_time"}
_MAPS: dict[str, dict[str, FieldMap]] = {  # by field and item
    "feed": {"comment": _COMMENT, "post": _POST, "photo": _POST, "video": _POST},
    "mention": {"comment": _COMMENT, "post": _POST},
    "ratings": {
        "rating": FieldMap({"id": "open_graph_story_id", "text": "review_text", **_STORY}),
        "comment": FieldMap({"id": "comment_id", "text": "message", **_STORY}),
    },
    "comments": {"": _INSTAGRAM},
    "live_comments": {"": _INSTAGRAM},
}
_DIRECT = FieldMap({"id": "message.mid", "text": "message.text"})
# Times are whole seconds: of what happened within one, the removal is the last.
_CHANGES = {"edit": 1, "edited": 1, "unhide": 2, "hide": 3, "remove": 4}


_MENTIONED = {  # by what the webhook names: the field of the account, and what of it is asked for (documented)
    "comment": ("mentioned_comment", "id,text,timestamp,username"),
    "media": ("mentioned_media", "id,caption,timestamp,username,permalink"),
}
_DIGITS = re.compile(r"[0-9]{1,40}")


class MetaSettings(FetchSettings):
    """`own_ids` are ids of the brand's pages, accounts and people: what they write is no feedback."""

    verify_token: str | None = Field(
        default=None, min_length=8, max_length=200, description="Default: the last part of the address."
    )
    own_ids: tuple[str, ...] = Field(default=(), description="Ids of your other pages and of your people.")
    api_url: ApiUrl = "https://graph.facebook.com/v23.0"
    requests_per_minute: float = Field(default=30, gt=0, le=6000, description="Most calls, for mentions on Instagram.")


class Meta(FetchingConnector):
    """An app's webhooks for pages and Instagram accounts."""

    name: ClassVar[str] = "meta"
    settings: ClassVar[type[MetaSettings]] = MetaSettings
    proof: ClassVar[Credential] = Scheme(header="X-Hub-Signature-256", prefix="sha256=")
    success: ClassVar[int] = 200

    def greet(self, settings: MetaSettings, message: Signed, secrets: Sequence[str], key: str) -> Answer | None:
        """See Connector. Digits only: it must not echo what somebody else wrote."""
        del secrets
        given = message.query.get("hub.verify_token", "").encode("utf-8", "surrogatepass")
        known = hmac.compare_digest(given, (settings.verify_token or key).encode())
        challenge = message.query.get("hub.challenge", "")
        asked = message.method == "GET" and message.query.get("hub.mode") == "subscribe"
        return Answer(body=challenge.encode()) if asked and known and _CHALLENGE.fullmatch(challenge) else None

    def parse(self, settings: MetaSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        if not (about := word(body.get("object"))):
            raise invalid([Fault("object", "is missing: it says what the entries are about")])
        if about not in _CHANNELS:
            return skipped("other object")
        if not (entries := objects(body.get("entry"))):
            raise invalid([Fault("entry", "has nothing that can be read: this is no delivery of Meta")])
        parsed = Parsed()
        for entry in entries:
            for told in _told(entry, set(settings.own_ids)):
                if isinstance(told, str):
                    parsed.skipped[told] += 1
                elif isinstance(told, Wanted):
                    parsed.wanted.append(told)
                else:
                    parsed.items.append({"channel": _CHANNELS[about], **told, **settings.constants()})
        return parsed

    def request(self, settings: MetaSettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector. The token stands in no address."""
        field, asked = _MENTIONED[wanted.detail["kind"]]
        query = urlencode({"fields": f"{field}.{wanted.detail['kind']}_id({wanted.object}){{{asked}}}"})
        return Request(f"{settings.api_url}/{wanted.detail['user']}?{query}", {"Authorization": f"Bearer {token}"})

    def fetched(self, settings: MetaSettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector."""
        field, _ = _MENTIONED[wanted.detail["kind"]]
        said = need_object(answer_object(body).get(field), field)
        item = {
            "channel": "instagram",
            "public": True,
            **settings.constants(),
            "id": wanted.object,
            "kind": "message",
            "occurred_at": said.get("timestamp"),
            "text": said.get("text") or said.get("caption"),
            "url": said.get("permalink"),
            "customer": {"handle": texts.name(said.get("username"))},
            "thread_id": wanted.detail.get("media"),
        }
        return Fetched(Parsed(items=[item]))


def _told(entry: dict[str, Any], own: set[str]) -> Iterator[dict[str, Any] | Wanted | str]:
    """Items, what is to be fetched, and reasons of what is left out."""
    page = _id(entry.get("id"))
    # Apps with the business login of Instagram get the change in the entry itself.
    changes = objects(entry.get("changes")) or ([entry] if "field" in entry else [])
    messages = objects(entry.get("messaging"))
    if page == "0":
        yield "test event"
    elif not changes and not messages:
        yield "other event"
    else:
        for change in changes:
            if word(change.get("field")) == "mentions":
                yield _mention(page, object_of(change.get("value")))
            else:
                yield _change(change, entry.get("time"), own | {page})
        yield from (_message(message, page, own | {page}) for message in messages)


def _change(change: dict[str, Any], time: Any, own: set[str]) -> dict[str, Any] | str:
    field, value = word(change.get("field")), object_of(change.get("value"))
    kind, verb = word(value.get("item")), word(value.get("verb")) or "add"
    if field not in _MAPS:
        return "other field"
    if kind not in _MAPS[field]:
        return "other item"
    if verb != "add" and verb not in _CHANGES:
        return "other change"
    customer = _author(value)
    if customer["handle"] in own and verb != "remove":
        return "own comment"
    item = {
        "public": verb != "hide" and value.get("is_hidden") is not True,
        "customer": customer,
        "ratings": _ratings(value) if kind == "rating" and verb != "remove" else [],
    }
    return _item(item, _MAPS[field][kind], value, verb, time)


def _mention(user: str, value: dict[str, Any]) -> Wanted | str:
    """Of the account `user`, in a comment or in the text of a post: only ids are told."""
    comment, media = _id(value.get("comment_id")), _id(value.get("media_id"))
    name, kind = (comment, "comment") if comment else (media, "media")
    if not _DIGITS.fullmatch(user) or not _DIGITS.fullmatch(name):
        return "other item"
    return Wanted(name, {"kind": kind, "user": user, "media": media or None})


def _message(message: dict[str, Any], page: str, own: set[str]) -> dict[str, Any] | str:
    if not isinstance(message.get("message"), dict):
        return "other event"
    said, who = message["message"], _id(object_of(message.get("sender")).get("id"))
    if said.get("is_echo") is True or who in own:
        return "own message"
    item = {"public": False, "customer": {"handle": who or None}, "thread_id": f"{page}/{who}"}
    verb = "remove" if said.get("is_deleted") is True else "add"
    return _item(item, _DIRECT, message, verb, message.get("timestamp"))


def _item(item: dict[str, Any], fields: FieldMap, source: Any, verb: str, time: Any) -> dict[str, Any] | str:
    item |= {"id": "", "kind": "message", "occurred_at": time}  # without an id it is refused
    fields.fill(item, source)
    item["removed"] = verb == "remove"
    item["revision"] = 0 if verb == "add" else _millis(time, _CHANGES[verb])
    if item["removed"]:
        item.pop("text", None)
    elif not item.get("text") and not item.get("ratings"):
        return "no text"
    return item


def _ratings(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Stars; where there are none, whether the page is recommended."""
    if stars := value.get("rating"):
        return [{"metric": "rating", "value": stars, "scale_min": 1, "scale_max": 5}]
    recommends = word(value.get("recommendation_type")).lower()
    if recommends not in {"positive", "negative"}:
        return []
    return [{"metric": "rating", "value": int(recommends == "positive"), "scale_min": 0, "scale_max": 1}]


def _author(value: dict[str, Any]) -> dict[str, Any]:
    sender = object_of(value.get("from"))
    who = _id(sender.get("id") or value.get("sender_id") or value.get("reviewer_id"))
    name = sender.get("username") or sender.get("name") or value.get("sender_name") or value.get("reviewer_name")
    return {"handle": who or None, "name": texts.name(name)}


def _id(value: Any) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else word(value)


def _millis(time: Any, more: int) -> Any:
    """A time in seconds or milliseconds; nothing, which is refused, where it is none."""
    if isinstance(time, bool) or not isinstance(time, int):
        return None
    return (time if time >= 10**11 else time * 1000) + more
