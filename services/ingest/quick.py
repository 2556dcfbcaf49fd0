"""Feedback in the public form to a record of the bus, quickly: the hot path of ingest.

The whole way (inputs.py, canonical.py, codec) says again for each item what it has said of others: feedback of a source
has few channels, touchpoints and surveys. So what many share goes the whole way once, and its part of the record is
remembered (_Frame); what is new in each (id, time, values, words, customer) is checked here. Whatever this does not
vouch for goes the whole way: there is one judge of what is accepted, and a test holds both together.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import Any, NamedTuple

import msgspec

from services.ingest import domain
from services.ingest.canonical import Origin
from shared.bus.codec import CONTENT_TYPE
from shared.bus.port import Headers, Message, message_size
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.core.ids import NAMESPACE

_TOPIC = FeedbackReceivedV1.topic.name
_MOST_REVISION = 10**18  # longer numbers are refused by the decoder at the door
_MOST_TEXT = 16 * 1024  # characters: at most 64 KiB in UTF-8
# Frames that are remembered before it begins anew: touchpoints are an open list, memory is not.
_MOST_FRAMES = 4096
_MOST_SAID = 128
_MOST_EMAIL = 254
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_URL = re.compile(r"https?://[!-~]{1,2000}")
_SHARED = {"removed", "kind", "source", "connector", "channel", "touchpoint", "department", "product", "segment"} | {
    "survey",
    "public",
    "language",
}


class _Survey(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    id: str
    type: str
    wave: str | None = None


class _Rating(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    metric: str
    value: float
    scale_min: float | None = None
    scale_max: float | None = None
    formula: str | None = None


class _Customer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    id: str | None = None
    email: str | None = None
    handle: str | None = None
    name: str | None = None


class _Feedback(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """The public form as far as the quick way takes it: no removals, no telephones. Every default is None, so that what
    was not given is left out when it is written again."""

    id: str
    revision: int | None = None
    kind: str | None = None
    occurred_at: str | None = None
    channel: str | None = None
    touchpoint: str | None = None
    department: str | None = None
    product: str | None = None
    segment: str | None = None
    survey: _Survey | None = None
    metric: str | None = None
    score: float | None = None
    ratings: tuple[_Rating, ...] | None = None
    customer: _Customer | None = None
    title: str | None = None
    text: str | None = None
    url: str | None = None
    public: bool | None = None
    language: str | None = None
    thread_id: str | None = None


class _Scale(NamedTuple):
    """One rating of a frame: its bounds, whether only whole numbers count, and what is written around the value."""

    low: float
    high: float
    whole: bool
    before: str
    after: str


class _Frame(NamedTuple):
    """What feedback with the same frame shares: the quotes of what is shared, the beginning of its JSON, its channel,
    its ratings, and what became of scores that were met."""

    quotes: int
    head: str
    channel: str
    ratings: tuple[_Scale, ...]
    said: dict[float, str]


# What every record says of itself, but for its time.
_OWN_HEADERS: Headers = (("ce_id", bytes(36)), ("ce_time", b""), ("ce_correlationid", bytes(36)))
# The two highest bits of this digit are the variant of RFC 9562.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_decode = msgspec.json.Decoder(_Feedback).decode
_encode = msgspec.json.encode


class QuickWay:
    """The quick way of one origin. Remembers what it has met, so it is kept."""

    def __init__(self, origin: Origin) -> None:
        self._frames: dict[tuple[Any, ...], _Frame] = {}
        self._workspace = origin.workspace
        self._feedback_id = _names("feedback", origin.workspace, origin.source)
        self._event_id = _names("external", origin.workspace, origin.source)
        self._customer_id = _names("customer", origin.workspace)
        self._headers = (
            ("content-type", CONTENT_TYPE),
            ("ce_specversion", b"1.0"),
            ("ce_type", FeedbackReceivedV1.event_type.encode()),
            ("ce_source", b"closeloop/ingest"),
            ("ce_workspace", origin.workspace.encode()),
        )
        self._fixed_size = message_size(Message("", b"", b"", (*self._headers, *_OWN_HEADERS)))

    def record(self, body: bytes, received_at: datetime, stamp: str, traceparent: str | None) -> Message | None:
        """The record of one item, or None: it has to go the whole way. `stamp` is `received_at` in RFC 3339."""
        given = _read(body)
        frame = None if given is None else self._frames.get(_key(given))
        if given is None or frame is None or not _is_whole(given, body, frame.quotes):
            return None
        ratings, sensitive = _ratings(frame, given), _sensitive(frame, given)
        if ratings is None or sensitive is None or not (ratings or given.text or given.title):
            return None
        if given.occurred_at is not None and not _is_plausible(given.occurred_at, received_at):
            return None
        return self._made(given, frame, ratings, sensitive, stamp, traceparent)

    def _made(
        self, given: _Feedback, frame: _Frame, ratings: str, sensitive: dict[str, str], stamp: str, trace: str | None
    ) -> Message:
        revision = given.revision or 0
        owner = feedback_id = self._feedback_id(given.id)
        about = ""
        if (identity := sensitive.get("identity")) is not None:
            owner = self._customer_id(identity)
            about = f',"customer_id":"{owner}"'
        if given.thread_id is not None:
            about += f',"thread_id":{json.dumps(given.thread_id)}'
        value = (
            f'{frame.head},"feedback_id":"{feedback_id}","revision":{revision},"occurred_at":"'
            f'{given.occurred_at or stamp}","received_at":"{stamp}","ratings":[{ratings}]{about},"sensitive":'
        ).encode() + b"%b}" % _encode(sensitive)
        key = f"{self._workspace}/{owner}".encode()
        size = self._fixed_size + len(stamp) + len(key) + len(value)
        headers: Headers = (
            *self._headers,
            ("ce_id", self._event_id(f"{given.id}\x1f{revision}").encode()),
            ("ce_time", stamp.encode()),
            ("ce_correlationid", feedback_id.encode()),
        )
        if trace is not None:
            headers += (("traceparent", trace.encode()),)
            size += len("traceparent") + len(trace)
        return Message(_TOPIC, key, value, headers, size)

    def learn(self, body: bytes, event: Event[Any]) -> None:
        """Remember the frame of an item that went the whole way, and what it became."""
        given = _read(body)
        if given is None or not isinstance(event.data, FeedbackReceivedV1):
            return
        if len(self._frames) >= _MOST_FRAMES:
            self._frames.clear()
        data = event.data
        self._frames[_key(given)] = _Frame(
            quotes=_shared_quotes(given),
            head=data.model_dump_json(include=_SHARED, exclude_none=True)[:-1],
            channel=data.channel,
            ratings=tuple(_scale(rating) for rating in data.ratings),
            said={},
        )


def _read(body: bytes) -> _Feedback | None:
    """The item, unless something about it needs a closer look: escapes, text that is not in NFC, words that are too
    long."""
    if b"\\" in body and b"\\u" in body:
        return None
    try:
        if not (body.isascii() or unicodedata.is_normalized("NFC", body.decode())):
            return None
        given = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not _is_line(given.id, 200):
        return None
    if given.revision is not None and not 0 <= given.revision < _MOST_REVISION:
        return None
    return given if given.thread_id is None or _is_line(given.thread_id, 80) else None


def _is_whole(given: _Feedback, body: bytes, shared: int) -> bool:
    """Whether the item is all that the body says: a key that stands there twice has quotes that are gone when the item
    is written again. They are counted without writing it, unless words may have quotes of their own."""
    quotes = body.count(b'"')
    if b"\\" in body:
        return quotes == _encode(given).count(b'"')
    return quotes == shared + _own_quotes(given)


def _shared_quotes(given: _Feedback) -> int:
    escaped = _encode(given).replace(b"\\\\", b"").replace(b'\\"', b"")
    return escaped.count(b'"') - _own_quotes(given)


def _own_quotes(given: _Feedback) -> int:
    """The quotes of what no frame shares, the id left out, which is always there."""
    quotes = 4 * (5 - (given.occurred_at, given.title, given.text, given.url, given.thread_id).count(None))
    if given.revision is not None:
        quotes += 2
    if (customer := given.customer) is not None:
        quotes += 18 - 4 * (customer.id, customer.email, customer.handle, customer.name).count(None)
    return quotes


def _key(given: _Feedback) -> tuple[Any, ...]:
    several = given.ratings
    return (
        given.kind,
        given.channel,
        given.touchpoint,
        given.department,
        given.product,
        given.segment,
        given.survey,
        given.metric,
        given.score is None,
        given.public,
        given.language,
        several and tuple((one.metric, one.scale_min, one.scale_max, one.formula) for one in several),
    )


def _scale(rating: Any) -> _Scale:
    before = f'{{"metric":"{rating.metric}","value":'
    after = f',"scale_min":{rating.scale_min!r},"scale_max":{rating.scale_max!r},"formula":"{rating.formula}"}}'
    return _Scale(rating.scale_min, rating.scale_max, rating.metric == "nps", before, after)


def _ratings(frame: _Frame, given: _Feedback) -> str | None:
    """The ratings as JSON; None where a value is off its scale."""
    values = [one.value for one in given.ratings or ()]
    if given.score is not None:
        if not values and given.score > 0 and (said := frame.said.get(given.score)):  # 0.0 equals -0.0
            return said
        values.append(given.score)
    parts = []
    for (low, high, whole, before, after), value in zip(frame.ratings, values, strict=True):
        if not low <= value <= high or (whole and not value.is_integer()):
            return None
        parts.append(f"{before}{value!r}{after}")
    ratings = ",".join(parts)
    if given.score is not None and len(values) == 1 and len(frame.said) < _MOST_SAID:
        frame.said[given.score] = ratings
    return ratings


def _sensitive(frame: _Frame, given: _Feedback) -> dict[str, str] | None:
    """The sensitive part; None where something in it needs a closer look."""
    found: dict[str, str] = {}
    if (customer := given.customer) is not None and not _take_customer(found, customer, frame.channel):
        return None
    title, text = given.title, given.text
    if title:
        found["title"] = title
    if text:
        found["text"] = text
    if len(title or "") > _MOST_TEXT or len(text or "") > _MOST_TEXT:
        return None
    if given.url is not None:
        if not _URL.fullmatch(given.url):
            return None
        found["url"] = given.url
    return found


def _take_customer(found: dict[str, str], customer: _Customer, channel: str) -> bool:
    identity, email, handle, name = customer.id, customer.email, customer.handle, customer.name
    if email is not None:
        if len(email) > _MOST_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
            return False
        found["email"] = email
    if identity is not None and not _is_line(identity, 200):
        return False
    for field, text in (("handle", handle), ("name", name)):
        if text is not None:
            if not _is_line(text, 200):
                return False
            found[field] = text
    known = domain.identity_of(id=identity, email=email, phone=None, handle=handle, channel=channel)
    if known is not None:
        found["identity"] = known
    return True


def _is_line(text: str, limit: int) -> bool:
    """One line without blanks around it. Joiners, which Persian needs, are looked at on the whole way."""
    return 0 < len(text) <= limit and text.isprintable() and text == text.strip()


def _is_plausible(text: str, now: datetime) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        return _EARLIEST <= datetime.fromisoformat(text) <= now + _AHEAD
    except ValueError:
        return False


def _names(*parts: str) -> Callable[[str], str]:
    """Name-based ids as `name_id` makes them (shared/core/ids.py), of names that begin alike; a quarter of the time."""
    beginning = "".join(f"{part}\x1f" for part in parts)
    begun = sha1(NAMESPACE.bytes + beginning.encode(), usedforsecurity=False).copy
    variant = _VARIANT

    def name(rest: str) -> str:
        digest = begun()
        digest.update(rest.encode())
        digits = digest.hexdigest()
        return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant[digits[16]]}{digits[17:20]}-{digits[20:32]}"

    return name
