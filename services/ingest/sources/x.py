"""X, by the Account Activity API. Signature: `sha256=` + base64 HMAC-SHA256 over the raw body, in
`X-Twitter-Webhooks-Signature-OAuth2` by the client secret or in `X-Twitter-Webhooks-Signature` by the consumer secret.

X asks hourly who is here. The answer to its token is what would sign a body like that token, so tokens in which JSON
could hide get none. `id` is a number of 19 digits, rounded even in X's own sample, so ids are `id_str`. An edit is a
post of its own whose `edit_history` names the first: so the enterprise APIs have it, unverified here. Deletions are
documented for posts of the account itself; those of others are read should they come. A post says what it answers, but
not in which conversation. No complete body is published.
"""

import html
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources import texts
from services.ingest.sources.base import (
    Answer,
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    object_of,
    objects,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from shared.auth.signatures import Scheme, Signed, sign
from shared.core.errors import Fault

_BY_CLIENT = Scheme(header="X-Twitter-Webhooks-Signature-OAuth2", encoding="base64", prefix="sha256=")
_BY_CONSUMER = Scheme(header="X-Twitter-Webhooks-Signature", encoding="base64", prefix="sha256=")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.\-]{1,200}")
_SCREEN_NAME = re.compile(r"[A-Za-z0-9_]{1,50}")
# X still says by these names what ISO 639-1 renamed in 1989.
_RENAMED = {"in": "id", "iw": "he", "ji": "yi"}


class XSettings(SourceSettings):
    """`own_users` are the brand's, beside the account that the delivery is for."""

    own_users: tuple[str, ...] = Field(default=(), description="Ids or @names of your other accounts.")


class X(Connector):
    """An account of the brand that an app is subscribed to."""

    name: ClassVar[str] = "x"
    settings: ClassVar[type[SourceSettings]] = XSettings
    proof: ClassVar[Credential] = (_BY_CLIENT, _BY_CONSUMER)
    success: ClassVar[int] = 200

    def greet(self, settings: XSettings, message: Signed, secrets: Sequence[str], key: str) -> Answer | None:
        """See Connector. The newest secret answers."""
        del settings, key
        token = message.query.get("crc_token", "")
        if message.method != "GET" or not secrets or not _TOKEN.fullmatch(token):
            return None
        proof = sign(_BY_CLIENT, Signed(token.encode(), {}), secrets[0])
        body = json.dumps({"response_token": proof}, separators=(",", ":")).encode()
        return Answer(body=body, content_type="application/json")

    def parse(self, settings: XSettings, message: Signed) -> Parsed:
        """See Connector."""
        body = json_object(message)
        if not any(name.endswith(("_event", "_events")) for name in body):
            reason = "has no events: only the Account Activity API is read, not the other webhooks of X"
            raise invalid([Fault("$", reason)])
        if not any(name in body for name in _READERS):
            return skipped("other event")
        reader = word(body.get("for_user_id"))
        if not reader:
            raise invalid([Fault("for_user_id", "is missing: it tells your own posts from those of others")])
        own = {reader, *(name.lstrip("@").casefold() for name in settings.own_users)}
        parsed = Parsed()
        for name, read in _READERS.items():
            for event in objects(body.get(name)):
                told = read(body, event, own)
                if isinstance(told, str):
                    parsed.skipped[told] += 1
                else:
                    parsed.items.append({"channel": "x", "kind": "message", **told, **settings.constants()})
        return parsed


def _post(body: dict[str, Any], post: dict[str, Any], own: set[str]) -> dict[str, Any] | str:
    del body
    user, identity = object_of(post.get("user")), word(post.get("id_str"))
    screen_name = word(user.get("screen_name"))
    if word(user.get("id_str")) in own or screen_name.casefold() in own:
        return "own post"
    if isinstance(post.get("retweeted_status"), dict):
        return "retweet"
    text = object_of(post.get("extended_tweet")).get("full_text") or post.get("full_text") or post.get("text")
    if not text:
        return "no text"
    first, at = word(object_of(post.get("edit_history")).get("initial_tweet_id")) or identity, _moment(post)
    return {
        "id": first,
        "revision": 0 if first == identity else at and int(at.timestamp() * 1000),
        "occurred_at": at or post.get("created_at"),
        "text": _spoken(text),
        "thread_id": word(post.get("in_reply_to_status_id_str")) or first,
        "url": f"https://x.com/{screen_name}/status/{identity}" if _SCREEN_NAME.fullmatch(screen_name) else None,
        "customer": _customer(user, user.get("id_str")),
        "public": user.get("protected") is not True,
        "language": _language(post.get("lang")),
    }


def _deleted(body: dict[str, Any], event: dict[str, Any], own: set[str]) -> dict[str, Any] | str:
    del body
    post = object_of(event.get("status"))
    if word(post.get("user_id")) in own:
        return "own post"
    identity = word(post.get("id_str")) or word(post.get("id"))
    return {"id": identity, "revision": event.get("timestamp_ms"), "removed": True}


def _message(body: dict[str, Any], event: dict[str, Any], own: set[str]) -> dict[str, Any] | str:
    if event.get("type") != "message_create":
        return "other event"
    message = object_of(event.get("message_create"))
    sender, text = word(message.get("sender_id")), object_of(message.get("message_data")).get("text")
    user = object_of(object_of(body.get("users")).get(sender))
    if sender in own or word(user.get("screen_name")).casefold() in own:
        return "own message"
    if not text:
        return "no text"
    return {
        "id": word(event.get("id")),
        "occurred_at": event.get("created_timestamp"),
        "text": _spoken(text),
        "thread_id": f"{body['for_user_id']}/{sender}",
        "customer": _customer(user, sender),
        "public": False,
    }


_READERS = {"tweet_create_events": _post, "tweet_delete_events": _deleted, "direct_message_events": _message}


def _spoken(text: Any) -> Any:
    """X sends `&`, `<` and `>` as entities."""
    return html.unescape(text) if isinstance(text, str) else text


def _moment(post: dict[str, Any]) -> datetime | None:
    try:
        return datetime.strptime(word(post.get("created_at")), "%a %b %d %H:%M:%S %z %Y")
    except ValueError:
        return None


def _customer(user: dict[str, Any], identity: Any) -> dict[str, Any]:
    return {"handle": word(user.get("screen_name")) or identity or None, "name": texts.name(user.get("name"))}


def _language(value: Any) -> str | None:
    code = texts.language(value)
    return None if code is None else _RENAMED.get(code, code)
