"""Feedback in the public form to records of the bus, quickly: the hot path of ingest.

The whole way (inputs.py, canonical.py, codec) says again for each item what it has said of others: feedback of a source
is written in few forms (forms.py), and has few channels, touchpoints and surveys. So what many share goes the whole way
once, and its part of the record is remembered (_Frame); what is new in each (id, time, values, words, customer) is
checked here, a check for all before the next one. Whatever this does not vouch for goes the whole way: there is one
judge of what is accepted, and a test holds both together.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from itertools import chain, repeat
from typing import Any, NamedTuple
from unicodedata import is_normalized

import numpy as np

from services.ingest import domain
from services.ingest.canonical import Origin
from services.ingest.forms import RATING, SCORE, Form, form_of
from shared.bus.codec import CONTENT_TYPE
from shared.bus.headers import VARINTS, PackedHeaders, header
from shared.bus.port import Message
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.core.ids import NAMESPACE

_TOPIC = FeedbackReceivedV1.topic.name
_MOST_TEXT = 16 * 1024  # characters: at most 64 KiB in UTF-8
# What is remembered of a source. Forms that are met first are kept, because making one costs more than an item; frames
# begin anew: touchpoints are an open list, memory is not.
_MOST_FORMS = 64
_MOST_FRAMES = 4096
_MOST_COMMON = 2048  # characters of a frame
_MOST_SAID = 128
_FIRST, _EARLIEST = "1990-01-01", datetime(1990, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)
# What each record has for itself; the rest of it many share.
_OWN = {"feedback_id", "revision", "occurred_at", "received_at", "ratings", "thread_id", "customer_id", "sensitive"}
# By which a customer is known, and what else is one line.
_IDENTIFYING = ("customer.id", "customer.email", "customer.handle")
_LINES = {"id", *_IDENTIFYING, "customer.name", "thread_id"}
_SENSITIVE = ("customer.email", "customer.handle", "customer.name", "title", "text", "url")
# The two highest bits of this digit are the variant of RFC 9562.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_ID_LENGTH, _TRACE = 36, "traceparent"
_DIGITS = [at for at in range(_ID_LENGTH) if at not in (8, 13, 18, 23)]
_MANY = 24


class _Scale(NamedTuple):
    """One rating of a frame: its bounds, whether only whole numbers count, and what is written around the value."""

    low: float
    high: float
    whole: bool
    before: str
    after: str


class _Frame(NamedTuple):
    """What feedback with the same text around its values shares: the beginning of its JSON, its channel, its ratings,
    and what became of values that were met."""

    head: str
    channel: str
    ratings: tuple[_Scale, ...]
    said: dict[tuple[str, ...], str]


# One of several that are worked on together: its number, its values, its frame. No NamedTuple, which takes ten times as
# long to make.
_Item = tuple[int, tuple[str, ...], _Frame]


class _Moment(NamedTuple):
    """When several were received, also in RFC 3339, and the traces that go on with them, by number, if any do."""

    now: datetime
    stamp: str
    traces: Sequence[str]


class _Writing:
    """How records are made of a form's values: what is looked at, and the text that stands before each."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.frames: dict[tuple[str, ...], _Frame] = {}
        self.lines = [name for name in form.names if name in _LINES]
        # As canonical.py orders them.
        self.ratings = [n for kind in (RATING, SCORE) for n, name in enumerate(form.names) if name == kind]
        self.is_known = not set(_IDENTIFYING).isdisjoint(form.names)
        self.text = [
            ("", "head"),
            (',"feedback_id":"', "feedback_id"),
            ('","revision":', "revision"),
            (',"occurred_at":"', "occurred_at"),
            ('","received_at":"', "received_at"),
            ('","ratings":[', "ratings"),
        ]
        end = "]"
        for name in ("thread_id", "customer_id"):
            if name in form.names or (name == "customer_id" and self.is_known):
                self.text.append((f'{end},"{name}":"', name))
                end = '"'
        end += ',"sensitive":{'
        for name in ("identity", *_SENSITIVE):
            if name in form.names or (name == "identity" and self.is_known):
                self.text.append((f'{end}"{name.removeprefix("customer.")}":"', name))
                end = '",'
        self.end = end.removesuffix(",") + "}}"


class QuickWay:
    """The quick way of one origin. Remembers what it has met, so it is kept."""

    def __init__(self, origin: Origin) -> None:
        self._writings: list[_Writing] = []  # what was met last is looked at first
        self._workspace = origin.workspace
        self._feedback = _beginning("feedback", origin.workspace, origin.source)
        self._event = _beginning("external", origin.workspace, origin.source)
        self._headings = _Headings(origin.workspace)

    def records(
        self, bodies: Sequence[bytes], received_at: datetime, stamp: str, traces: Sequence[str] = ()
    ) -> list[Message | None]:
        """The record of each item, or None: it has to go the whole way. `stamp` is `received_at` in RFC 3339."""
        found: list[Message | None] = [None] * len(bodies)
        texts, left = _texts(bodies), list(range(len(bodies)))
        for writing in self._writings[:]:
            values_of, common_of, frame_of = writing.form.values, writing.form.common, writing.frames.get
            matches = list(map(writing.form.match, texts))
            items = [
                (number, values_of(parts), frame)
                for number, match in zip(left, matches, strict=True)
                if match and (frame := frame_of(common_of(parts := match.groups())))
            ]
            if items:
                self._prefer(writing)
                self._make(found, writing, items, _Moment(received_at, stamp, traces))
            if len(items) == len(left):
                break
            left = [number for number, match in zip(left, matches, strict=True) if not match]
            texts = [text for text, match in zip(texts, matches, strict=True) if not match]
        return found

    def _prefer(self, writing: _Writing) -> None:
        if writing is not self._writings[0]:
            self._writings.remove(writing)
            self._writings.insert(0, writing)

    def _make(self, found: list[Message | None], writing: _Writing, items: Sequence[_Item], moment: _Moment) -> None:
        """All at once; where one of them needs a closer look, each alone."""
        made = self._made(writing, items, moment)
        if made is not None:
            for (number, *_), message in zip(items, made, strict=True):
                found[number] = message
        elif len(items) > 1:
            for item in items:
                self._make(found, writing, [item], moment)

    def _made(self, writing: _Writing, items: Sequence[_Item], moment: _Moment) -> list[Message] | None:
        numbers, own, frames = zip(*items, strict=True)
        now, stamp, given = moment
        traces = [given[number] for number in numbers] if given else []
        columns = list(zip(*own, strict=True))
        named = dict(zip(writing.form.names, columns, strict=True))
        ratings, moments = _ratings(writing, frames, columns), (stamp,) * len(items)
        times = named.get("occurred_at")
        lines = "".join(chain.from_iterable([named[name] for name in writing.lines]))
        if ratings is None or not lines.isprintable() or (times and not _are_plausible(times, now, stamp[:10])):
            return None
        ids, revisions = named["id"], named.get("revision") or ("0",) * len(items)
        feedback_ids = _name_ids(self._feedback, ids)
        event_ids = _name_ids(self._event, list(map("%s\x1f%s".__mod__, zip(ids, revisions, strict=True))))
        cells: dict[str, Iterable[str]] = {
            **named,
            "head": [frame.head for frame in frames],
            "feedback_id": feedback_ids,
            "revision": revisions,
            "occurred_at": times or moments,
            "received_at": moments,
            "ratings": ratings,
        }
        if writing.is_known:
            cells["identity"] = identities = _identities(named, frames)
            owners = list(map(_customer, repeat(self._workspace), identities))
            cells["customer_id"] = [customer for customer, _ in owners]
            keys = [key for _, key in owners]
        else:
            keys = [f"{self._workspace}/{one}".encode() for one in feedback_ids]
        pieces = chain.from_iterable((repeat(text), cells[name]) for text, name in writing.text)
        values = [one.encode() for one in map("".join, zip(*pieces, repeat(writing.end)))]
        headers = self._headings.of(event_ids, feedback_ids, stamp, traces)
        fixed = self._headings.size + len(stamp)
        sizes = [fixed + len(_TRACE) + len(trace) for trace in traces] or [fixed] * len(items)
        return [
            Message(_TOPIC, key, value, packed, size + len(key) + len(value))
            for key, value, packed, size in zip(keys, values, headers, sizes, strict=True)
        ]

    def learn(self, body: bytes, event: Event[Any]) -> None:
        """Remember the form and the frame of an item that went the whole way, and what it became."""
        [text], data = _texts([body]), event.data
        if not text or not isinstance(data, FeedbackReceivedV1) or data.removed:
            return
        writing = self._writing_of(text)
        match = writing.form.match(text) if writing else None
        if writing is None or match is None:
            return
        parts = match.groups()
        if len(text) - sum(map(len, writing.form.values(parts))) > _MOST_COMMON:
            return
        if sum(len(one.frames) for one in self._writings) >= _MOST_FRAMES:
            for one in self._writings:
                one.frames.clear()
        head = data.model_dump_json(exclude=_OWN, exclude_none=True)[:-1]
        writing.frames[writing.form.common(parts)] = _Frame(head, data.channel, tuple(map(_scale, data.ratings)), {})

    def _writing_of(self, text: str) -> _Writing | None:
        """How its like is written, known from now on; None where it has no form."""
        for writing in self._writings:
            if writing.form.match(text):
                return writing
        form = form_of(text) if len(self._writings) < _MOST_FORMS else None
        if form is not None:
            self._writings.append(_Writing(form))
        return self._writings[-1] if form else None


class _Headings:
    """Headers as codec.encode lays them out, packed but for what is each record's own."""

    def __init__(self, workspace: str) -> None:
        before = (("content-type", CONTENT_TYPE), ("ce_specversion", b"1.0"))
        until_time = (("ce_type", FeedbackReceivedV1.event_type.encode()), ("ce_source", b"closeloop/ingest"))
        after_time = (("ce_workspace", workspace.encode()),)
        self._before = _packed(before) + _begun("ce_id", _ID_LENGTH)
        self._until_time = _packed(until_time)
        self._traced = _begun(_TRACE, 1)[:-1]  # its length comes with it
        self._after_time = _packed(after_time) + _begun("ce_correlationid", _ID_LENGTH)
        own = ("ce_id", "ce_time", "ce_correlationid")
        self._number = len(before) + len(until_time) + len(after_time) + len(own)
        self.size = 2 * _ID_LENGTH + sum(map(len, chain(own, *before, *until_time, *after_time)))
        """As message_size counts, but for the time and the trace."""

    def of(
        self, event_ids: Sequence[str], feedback_ids: Sequence[str], stamp: str, traces: Sequence[str]
    ) -> list[PackedHeaders]:
        """Those of each record."""
        before = VARINTS[self._number + bool(traces)] + self._before
        middle = self._until_time + header("ce_time", stamp.encode()) + self._after_time
        ends = [b"".join((self._traced, VARINTS[len(trace)], trace.encode())) for trace in traces]
        return [
            PackedHeaders(b"".join((before, event_id.encode(), middle, feedback_id.encode(), end)))
            for event_id, feedback_id, end in zip(event_ids, feedback_ids, ends or repeat(b""), strict=False)
        ]


def _packed(headers: Iterable[tuple[str, bytes]]) -> bytes:
    return b"".join(header(name, value) for name, value in headers)


def _begun(name: str, length: int) -> bytes:
    """A header without its value."""
    return header(name, bytes(length))[:-length]


def _texts(bodies: Sequence[bytes]) -> list[str]:
    """Each in Unicode NFC and not so long that its words might be too long; what is not is empty."""
    try:
        texts = [body.decode() for body in bodies]
    except UnicodeDecodeError:
        return [*_texts(bodies[: len(bodies) // 2]), *_texts(bodies[len(bodies) // 2 :])] if len(bodies) > 1 else [""]
    return [
        text if len(text) <= _MOST_TEXT and (text.isascii() or is_normalized("NFC", text)) else "" for text in texts
    ]


def _scale(rating: Any) -> _Scale:
    before = f'{{"metric":"{rating.metric}","value":'
    after = f',"scale_min":{rating.scale_min!r},"scale_max":{rating.scale_max!r},"formula":"{rating.formula}"}}'
    return _Scale(rating.scale_min, rating.scale_max, rating.metric == "nps", before, after)


def _ratings(writing: _Writing, frames: Sequence[_Frame], columns: Sequence[tuple[str, ...]]) -> Sequence[str] | None:
    """The ratings of each as JSON; None where a value of one is off its scale."""
    if not writing.ratings:
        return ("",) * len(frames)
    values = zip(*[columns[number] for number in writing.ratings], strict=True)
    found = [frame.said.get(given) or _rated(frame, given) for frame, given in zip(frames, values, strict=True)]
    return None if "" in found else found


def _rated(frame: _Frame, given: tuple[str, ...]) -> str:
    """Values as they are said from now on; "" where one is off its scale."""
    parts = []
    for (low, high, whole, before, after), value in zip(frame.ratings, map(float, given), strict=True):
        if not low <= value <= high or (whole and not value.is_integer()):
            return ""
        parts.append(f"{before}{value!r}{after}")
    said = ",".join(parts)
    if len(frame.said) < _MOST_SAID:
        frame.said[given] = said
    return said


def _identities(named: dict[str, tuple[str, ...]], frames: Sequence[_Frame]) -> Sequence[str]:
    own = named.get("customer.id")
    if own and "@" not in "".join(own):
        return own
    ids, emails, handles = (named.get(name, (None,) * len(frames)) for name in _IDENTIFYING)
    return [
        domain.identity_of(id=one, email=email, phone=None, handle=handle, channel=frame.channel) or ""
        for one, email, handle, frame in zip(ids, emails, handles, frames, strict=True)
    ]


@lru_cache(maxsize=32_768)
def _customer(workspace: str, identity: str) -> tuple[str, bytes]:
    """A customer's id, and the key of what concerns them; remembered, because most customers come again."""
    [customer_id] = _name_ids(_beginning("customer", workspace), [identity])
    return customer_id, f"{workspace}/{customer_id}".encode()


def _are_plausible(times: Sequence[str], now: datetime, today: str) -> bool:
    """A day that is over is over in every zone by tomorrow; today's times need no closer look where they are UTC."""
    days = {time[:10] for time in times}
    if today in days and all(time[-1] == "Z" for time in times):
        days.remove(today)
    return all(_FIRST < day < today and _is_day(day) for day in days) or all(_is_plausible(time, now) for time in times)


@lru_cache(maxsize=4096)
def _is_day(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_plausible(text: str, now: datetime) -> bool:
    try:
        return _EARLIEST <= datetime.fromisoformat(text) <= now + _AHEAD
    except ValueError:
        return False


def _beginning(*parts: str) -> bytes:
    """What name-based ids (shared/core/ids.py) of names that begin alike are hashed of, but for the rest."""
    return NAMESPACE.bytes + "".join(f"{part}\x1f" for part in parts).encode()


def _name_ids(beginning: bytes, names: Sequence[str]) -> list[str]:
    """As `name_id` makes them, in a fifth of the time; many are written side by side."""
    if len(names) >= _MANY:
        return _written([sha1(beginning + name.encode(), usedforsecurity=False).digest() for name in names])
    digests = [sha1(beginning + name.encode(), usedforsecurity=False).hexdigest() for name in names]
    variant = _VARIANT
    return [f"{d[:8]}-{d[8:12]}-5{d[13:16]}-{variant[d[16]]}{d[17:20]}-{d[20:32]}" for d in digests]


def _written(digests: Sequence[bytes]) -> list[str]:
    ids = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)[:, :16].copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50  # version 5
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # the variant of RFC 9562
    text = np.full((len(digests), _ID_LENGTH), ord("-"), np.uint8)
    text[:, _DIGITS] = np.frombuffer(ids.tobytes().hex().encode(), np.uint8).reshape(len(digests), -1)
    all_of_them = text.tobytes().decode()
    return [all_of_them[at : at + _ID_LENGTH] for at in range(0, len(all_of_them), _ID_LENGTH)]
