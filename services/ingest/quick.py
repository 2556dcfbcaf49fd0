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
from itertools import chain, repeat
from typing import Any, NamedTuple
from unicodedata import is_normalized

from services.ingest import domain
from services.ingest.canonical import Origin
from services.ingest.forms import RATING, SCORE, Form, form_of
from services.ingest.nameids import ID_LENGTH, begin, name_ids
from shared.bus.codec import CONTENT_TYPE
from shared.bus.headers import VARINTS, PackedHeaders, header
from shared.bus.port import Message
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1

_TOPIC = FeedbackReceivedV1.topic.name
_MOST_TEXT = 16 * 1024  # bytes: no words in it are too long
# What is remembered of a source. Forms that are met first are kept, because making one costs more than an item; frames
# begin anew: touchpoints are an open list, memory is not.
_MOST_FORMS = 64
_MOST_FRAMES = 4096
_MOST_COMMON = 2048  # bytes of a frame
_MOST_SAID = 128
_FIRST, _EARLIEST = b"1990-01-01", datetime(1990, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)
# What each record has for itself; the rest of it many share.
_OWN = {"feedback_id", "revision", "occurred_at", "received_at", "ratings", "thread_id", "customer_id", "sensitive"}
# By which a customer is known, and what else is one line.
_IDENTIFYING = ("customer.id", "customer.email", "customer.handle")
_LINES = {"id", *_IDENTIFYING, "customer.name", "thread_id"}
_WORDS = {"title", "text"}
_SENSITIVE = ("customer.email", "customer.handle", "customer.name", "title", "text", "url")
_TRACE = "traceparent"


class _Scale(NamedTuple):
    """One rating of a frame: its bounds, whether only whole numbers count, and what is written around the value."""

    low: float
    high: float
    whole: bool
    before: bytes
    after: bytes


class _Frame(NamedTuple):
    """What feedback with the same text around its values shares: the beginning of its JSON, its channel, its ratings,
    and what became of values that were met."""

    head: bytes
    channel: str
    ratings: tuple[_Scale, ...]
    said: dict[tuple[bytes, ...], bytes]


class _Some(NamedTuple):
    """What is worked on together: the number of each, the groups of its form, its frame."""

    numbers: Sequence[int]
    parts: Sequence[tuple[bytes, ...]]
    frames: Sequence[_Frame]


class _Moment(NamedTuple):
    """When several were received, also in RFC 3339, and the traces that go on with them, by number, if any do."""

    now: datetime
    stamp: str
    traces: Sequence[str]


class _Writing:
    """How records are made of a form's values: what is looked at, and the text that stands before each."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.frames: dict[tuple[bytes, ...], _Frame] = {}
        self.lines = [name for name in form.names if name in _LINES]
        self.words = [name for name in form.names if name in _WORDS]
        # As canonical.py orders them.
        self.ratings = [n for kind in (RATING, SCORE) for n, name in enumerate(form.names) if name == kind]
        self.is_known = not set(_IDENTIFYING).isdisjoint(form.names)
        text = [
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
                text.append((f'{end},"{name}":"', name))
                end = '"'
        end += ',"sensitive":{'
        for name in ("identity", *_SENSITIVE):
            if name in form.names or (name == "identity" and self.is_known):
                text.append((f'{end}"{name.removeprefix("customer.")}":"', name))
                end = '",'
        self.text = [(before.encode(), name) for before, name in text]
        self.end = f"{end.removesuffix(',')}}}}}".encode()

    def known(self, numbers: Sequence[int], parts: Sequence[tuple[bytes, ...]]) -> _Some:
        """Those whose frame was met."""
        columns = list(zip(*parts, strict=True))
        common = [columns[place] for place in self.form.common]
        frames = list(map(self.frames.get, zip(*common, strict=True) if common else repeat((), len(parts))))
        if None in frames:
            met = [n for n, frame in enumerate(frames) if frame]
            numbers, parts = [numbers[n] for n in met], [parts[n] for n in met]
        return _Some(numbers, parts, [frame for frame in frames if frame])


class QuickWay:
    """The quick way of one origin. Remembers what it has met, so it is kept."""

    def __init__(self, origin: Origin) -> None:
        self._writings: list[_Writing] = []  # what was met last is looked at first
        self._workspace = origin.workspace
        self._key = f"{origin.workspace}/".encode()
        self._feedback = begin("feedback", origin.workspace, origin.source)
        self._event = begin("external", origin.workspace, origin.source)
        self._headings = _Headings(origin.workspace)

    def records(
        self, bodies: Sequence[bytes], received_at: datetime, stamp: str, traces: Sequence[str] = ()
    ) -> list[Message | None]:
        """The record of each item, or None: it has to go the whole way. `stamp` is `received_at` in RFC 3339."""
        found: list[Message | None] = [None] * len(bodies)
        texts, left = [body if len(body) <= _MOST_TEXT else b"" for body in bodies], list(range(len(bodies)))
        for writing in self._writings[:]:
            matches = list(map(writing.form.match, texts))
            parts = [match.groups() for match in matches if match]
            all_match = len(parts) == len(left)
            numbers = left if all_match else [number for number, match in zip(left, matches, strict=True) if match]
            known = writing.known(numbers, parts) if parts else None
            if known and known.numbers:
                self._prefer(writing)
                self._make(found, writing, known, _Moment(received_at, stamp, traces))
            if all_match:
                break
            left = [number for number, match in zip(left, matches, strict=True) if not match]
            texts = [text for text, match in zip(texts, matches, strict=True) if not match]
        return found

    def _prefer(self, writing: _Writing) -> None:
        if writing is not self._writings[0]:
            self._writings.remove(writing)
            self._writings.insert(0, writing)

    def _make(self, found: list[Message | None], writing: _Writing, some: _Some, moment: _Moment) -> None:
        """All at once; where one of them needs a closer look, each alone."""
        made = self._made(writing, some, moment)
        if made is not None:
            for number, message in zip(some.numbers, made, strict=True):
                found[number] = message
        elif len(some.numbers) > 1:
            for number, parts, frame in zip(*some, strict=True):
                self._make(found, writing, _Some([number], [parts], [frame]), moment)

    def _made(self, writing: _Writing, some: _Some, moment: _Moment) -> list[Message] | None:
        numbers, parts, frames = some
        now, stamp, given = moment
        traces = [given[number] for number in numbers] if given else []
        columns = list(zip(*parts, strict=True))
        own = [columns[place] for place in writing.form.own]
        named = dict(zip(writing.form.names, own, strict=True))
        ratings, moments = _ratings(writing, frames, own), (stamp.encode(),) * len(numbers)
        times = named.get("occurred_at")
        if ratings is None or not _is_text(writing, named) or (times and not _are_plausible(times, now, moments[0])):
            return None
        ids, revisions = named["id"], named.get("revision") or (b"0",) * len(numbers)
        feedback_ids, event_ids = name_ids(
            (self._feedback, ids), (self._event, list(map(b"%b\x1f%b".__mod__, zip(ids, revisions, strict=True))))
        )
        cells: dict[str, Iterable[bytes]] = {
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
            owners = map(_customer, repeat(self._workspace), identities)
            cells["customer_id"], keys = zip(*owners, strict=True)
        else:
            keys = tuple(map(self._key.__add__, feedback_ids))
        pieces = chain.from_iterable((repeat(text), cells[name]) for text, name in writing.text)
        values = list(map(b"".join, zip(*pieces, repeat(writing.end))))
        headers = self._headings.of(event_ids, feedback_ids, moments[0], traces)
        fixed = self._headings.size + len(stamp)
        sizes = [fixed + len(_TRACE) + len(trace) for trace in traces] or repeat(fixed)
        return [
            Message(_TOPIC, key, value, packed, size + len(key) + len(value))
            for key, value, packed, size in zip(keys, values, headers, sizes, strict=False)
        ]

    def learn(self, body: bytes, event: Event[Any]) -> None:
        """Remember the form and the frame of an item that went the whole way, and what it became."""
        text, data = _text(body), event.data
        if not text or not isinstance(data, FeedbackReceivedV1) or data.removed:
            return
        writing = self._writing_of(body, text)
        match = writing.form.match(body) if writing else None
        if writing is None or match is None:
            return
        parts = match.groups()
        if len(body) - sum(len(parts[place]) for place in writing.form.own) > _MOST_COMMON:
            return
        if sum(len(one.frames) for one in self._writings) >= _MOST_FRAMES:
            for one in self._writings:
                one.frames.clear()
        head = data.model_dump_json(exclude=_OWN, exclude_none=True)[:-1].encode()
        common = tuple(parts[place] for place in writing.form.common)
        writing.frames[common] = _Frame(head, data.channel, tuple(map(_scale, data.ratings)), {})

    def _writing_of(self, body: bytes, text: str) -> _Writing | None:
        """How its like is written, known from now on; None where it has no form."""
        for writing in self._writings:
            if writing.form.match(body):
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
        self._before = _packed(before) + _begun("ce_id", ID_LENGTH)
        self._until_time = _packed(until_time)
        self._traced = _begun(_TRACE, 1)[:-1]  # its length comes with it
        self._after_time = _packed(after_time) + _begun("ce_correlationid", ID_LENGTH)
        own = ("ce_id", "ce_time", "ce_correlationid")
        self._number = len(before) + len(until_time) + len(after_time) + len(own)
        self.size = 2 * ID_LENGTH + sum(map(len, chain(own, *before, *until_time, *after_time)))
        """As message_size counts, but for the time and the trace."""

    def of(
        self, event_ids: Sequence[bytes], feedback_ids: Sequence[bytes], stamp: bytes, traces: Sequence[str]
    ) -> list[PackedHeaders]:
        """Those of each record."""
        before = VARINTS[self._number + bool(traces)] + self._before
        middle = self._until_time + header("ce_time", stamp) + self._after_time
        ends = [b"".join((self._traced, VARINTS[len(trace)], trace.encode())) for trace in traces]
        return [
            PackedHeaders(b"".join((before, event_id, middle, feedback_id, end)))
            for event_id, feedback_id, end in zip(event_ids, feedback_ids, ends or repeat(b""), strict=False)
        ]


def _packed(headers: Iterable[tuple[str, bytes]]) -> bytes:
    return b"".join(header(name, value) for name, value in headers)


def _begun(name: str, length: int) -> bytes:
    """A header without its value."""
    return header(name, bytes(length))[:-length]


def _text(body: bytes) -> str:
    """Where it is in Unicode NFC and not so long that its words might be too long; else empty."""
    try:
        text = body.decode() if len(body) <= _MOST_TEXT else ""
    except UnicodeDecodeError:
        return ""
    return text if is_normalized("NFC", text) else ""


def _is_text(writing: _Writing, named: dict[str, tuple[bytes, ...]]) -> bool:
    """Whether all values are text as it is kept: in Unicode NFC, and lines can be printed."""
    try:
        # A quote between them: no value holds one, and nothing grows together over it.
        lines, words = (
            b'"'.join(chain.from_iterable(named[name] for name in names)).decode()
            for names in (writing.lines, writing.words)
        )
    except UnicodeDecodeError:
        return False
    return lines.isprintable() and all(text.isascii() or is_normalized("NFC", text) for text in (lines, words))


def _scale(rating: Any) -> _Scale:
    before = f'{{"metric":"{rating.metric}","value":'
    after = f',"scale_min":{rating.scale_min!r},"scale_max":{rating.scale_max!r},"formula":"{rating.formula}"}}'
    return _Scale(rating.scale_min, rating.scale_max, rating.metric == "nps", before.encode(), after.encode())


def _ratings(writing: _Writing, frames: Sequence[_Frame], own: Sequence[tuple[bytes, ...]]) -> Sequence[bytes] | None:
    """The ratings of each as JSON; None where a value of one is off its scale."""
    if not writing.ratings:
        return (b"",) * len(frames)
    values = zip(*[own[number] for number in writing.ratings], strict=True)
    found = [frame.said.get(given) or _rated(frame, given) for frame, given in zip(frames, values, strict=True)]
    return None if b"" in found else found


def _rated(frame: _Frame, given: tuple[bytes, ...]) -> bytes:
    """Values as they are said from now on; empty where one is off its scale."""
    parts = []
    for (low, high, whole, before, after), value in zip(frame.ratings, map(float, given), strict=True):
        if not low <= value <= high or (whole and not value.is_integer()):
            return b""
        parts.append(b"".join((before, repr(value).encode(), after)))
    said = b",".join(parts)
    if len(frame.said) < _MOST_SAID:
        frame.said[given] = said
    return said


def _identities(named: dict[str, tuple[bytes, ...]], frames: Sequence[_Frame]) -> Sequence[bytes]:
    own = named.get("customer.id")
    if own and b"@" not in b"".join(own):
        return own
    ids, emails, handles = (
        [value.decode() for value in named[name]] if name in named else repeat(None) for name in _IDENTIFYING
    )
    return [
        (domain.identity_of(id=one, email=email, phone=None, handle=handle, channel=frame.channel) or "").encode()
        for one, email, handle, frame in zip(ids, emails, handles, frames, strict=False)
    ]


@lru_cache(maxsize=32_768)
def _customer(workspace: str, identity: bytes) -> tuple[bytes, bytes]:
    """A customer's id, and the key of what concerns them; remembered, because most customers come again."""
    [[customer_id]] = name_ids((begin("customer", workspace), [identity]))
    return customer_id, b"%b/%b" % (workspace.encode(), customer_id)


def _are_plausible(times: Sequence[bytes], now: datetime, stamp: bytes) -> bool:
    """A day that is over is over in every zone by tomorrow; today's times need no closer look where they are UTC."""
    days, today = {time[:10] for time in times}, stamp[:10]
    if today in days and all(time.endswith(b"Z") for time in times):
        days.remove(today)
    return all(_FIRST < day < today and _is_day(day) for day in days) or all(_is_plausible(time, now) for time in times)


@lru_cache(maxsize=4096)
def _is_day(text: bytes) -> bool:
    try:
        return bool(date.fromisoformat(text.decode()))
    except ValueError:
        return False


def _is_plausible(text: bytes, now: datetime) -> bool:
    try:
        return _EARLIEST <= datetime.fromisoformat(text.decode()) <= now + _AHEAD
    except ValueError:
        return False
