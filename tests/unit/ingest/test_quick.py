"""The quick way and the whole way: the same event, or the whole way alone."""

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.ingest.canonical import Origin, Refused, event_of
from services.ingest.decoding import decode_json
from services.ingest.examples import CORRECTION_EXAMPLE, MESSAGE_EXAMPLE, RATING_EXAMPLE, SURVEY_EXAMPLE
from services.ingest.inputs import FeedbackIn
from services.ingest.quick import QuickWay
from shared.bus import codec
from shared.bus.heading import Heading, heading_of
from shared.bus.port import message_size
from shared.contracts.envelope import Event
from shared.core.clock import rfc3339, utc_now
from shared.core.errors import InvalidInput

ORIGIN = Origin("lale", "shop", "generic")
NOW = utc_now()
TRACE = "00-6092520d7e5a789ae8c43ce082a9ff08-4e2abc4902a2a0e5-01"
SHOP: dict[str, Any] = {
    "id": "m-7",
    "occurred_at": "2026-03-10T09:14:52.25+03:30",
    "channel": "app",
    "customer": {"id": "C-7", "handle": "@Nora", "name": "Nora"},
    "text": "سفارش من دیر رسید",
    "thread_id": "a 'thread' of ours",
    "url": "https://example.com/a?b=c",
    "revision": 3,
    "public": True,
    "language": "fa",
}
TAKEN = (SURVEY_EXAMPLE, RATING_EXAMPLE, CORRECTION_EXAMPLE, {**MESSAGE_EXAMPLE, "id": "m-1"}, SHOP)


def whole(body: bytes) -> Event[Any] | None:
    """By the whole way; None where it is refused, or where its content is its id."""
    try:
        item = decode_json(body)
        return event_of(item, ORIGIN, NOW) if isinstance(item, dict) and "id" in item else None
    except (InvalidInput, Refused):
        return None


def quick(way: QuickWay, body: bytes) -> Event[Any] | None:
    [record] = way.records([body], NOW, rfc3339(NOW))
    return None if record is None else codec.decode(record)


def learned(*bodies: Any) -> QuickWay:
    way = QuickWay(ORIGIN)
    for body in bodies:
        event = whole(raw(body))
        assert event is not None
        way.learn(raw(body), event)
    return way


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


@pytest.mark.parametrize("body", TAKEN, ids=lambda body: str(body["id"]))
def test_what_was_met_once_is_quick_and_the_same_event(body: dict[str, Any]) -> None:
    other = raw({**body, "id": f"{body['id']}-2"})
    way = QuickWay(ORIGIN)
    assert way.records([other], NOW, rfc3339(NOW)) == [None]
    way = learned(body)
    [record], event = way.records([other], NOW, rfc3339(NOW), [TRACE]), whole(other)
    assert record is not None
    assert event is not None
    message = codec.encode(event)
    assert record.size == message_size(replace(record, size=0))
    decoded = codec.decode(record)
    assert decoded.data == event.data
    assert (decoded.id, decoded.source, decoded.time, decoded.workspace) == (
        event.id,
        event.source,
        event.time,
        event.workspace,
    )
    assert (record.topic, record.key) == (message.topic, message.key)
    assert heading_of(list(record.headers)) == Heading(event.type, ORIGIN.workspace)
    assert list(record.headers) == [*message.headers, ("traceparent", TRACE.encode())]


ODD: list[Any] = [None, "", " x", "x ", "a\u202eb", "e\u0301", "\u200c", "x" * 81, "x" * 300, "y" * 20_000]
ODD += [-1, 11, 5.5, 10**18, True, [], {}, "2026-02-30T00:00:00Z", "2026-03-10", "2026-03-10T09:14:52"]
ODD += ["1989-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "nora@example.com", "NORA@Example.com", "no address", "tr-TR"]
ODD += ["nps", "csat", "https://ünicode.example", "a\nb", "1", "9.5", "{", "}", "]", '"', "\\", 1773134092]
odd = st.sampled_from(ODD)
values = odd | st.text(max_size=20) | st.integers(-2, 12) | st.floats(allow_nan=False, allow_infinity=False)
customers = st.dictionaries(st.sampled_from(["id", "email", "phone", "handle", "name", "x"]), values, max_size=3)
surveys = st.dictionaries(st.sampled_from(["id", "type", "wave", "x"]), values, max_size=3)
ratings = st.lists(
    st.fixed_dictionaries(
        {"metric": st.sampled_from(["nps", "csat", "rating"]), "value": values},
        optional={"scale_min": values, "scale_max": values, "formula": values},
    ),
    max_size=2,
)
changes = st.dictionaries(st.sampled_from([*FeedbackIn.model_fields, "unknown"]), values, max_size=3)
parts = st.fixed_dictionaries({}, optional={"customer": customers, "survey": surveys, "ratings": ratings})


@settings(max_examples=20 * int(os.environ.get("RUNS", "15")), deadline=None)
@given(base=st.sampled_from(TAKEN), changes=st.tuples(changes, changes), part=parts, spaced=st.booleans())
def test_the_quick_way_says_what_the_whole_way_says_or_nothing(
    base: dict[str, Any], changes: tuple[dict[str, Any], dict[str, Any]], part: dict[str, Any], spaced: bool
) -> None:
    first = {**base, **changes[0], **part}
    way = learned(*TAKEN)
    for body in (first, first, {**first, **changes[1]}):  # and what it learns of one is no other thing of the next
        text = json.dumps(body, ensure_ascii=False, separators=None if spaced else (",", ":"))
        try:
            content = text.encode()
        except UnicodeEncodeError:
            return
        expected, found = whole(content), quick(way, content)
        if found is not None:
            assert expected is not None
            assert (found.data, found.id, found.record_key()) == (expected.data, expected.id, expected.record_key())
        if expected is not None:
            way.learn(content, expected)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"a","id":"b","channel":"store","text":"x","language":"tr"}',
        b'{"id":"a","id":"b","channel":"store","text" :"x","language":"tr"}',
        b'{"id":"a","channel":"store","text":"x","language":"tr","text":"y"}',
        b'{"id":"a","channel":"store","text":"\\ud800","language":"tr"}',
        b'{"id":"a","channel":"store","text":"\\u0000","language":"tr"}',
        b'{"id":"a","channel":"store","text":"e\xcc\x81","language":"tr"}',
        b'\xef\xbb\xbf{"id":"a","channel":"store","text":"x","language":"tr"}',
        b'{"id":"a","channel":"store","text":"\xff","language":"tr"}',
        b'{"id":"a","channel":"store","text":"x","language":"tr","removed":true,"revision":1}',
        b'{"id":"a","channel":"store","text":"x","language":"tr","customer":{"phone":"+90 532 000 00 00"}}',
        b'{"id":"a","channel":"store","language":"tr"}',
        b"",
        b"[]",
    ],
)
def test_what_needs_a_closer_look_goes_the_whole_way(body: bytes) -> None:
    way = learned({**MESSAGE_EXAMPLE, "id": "m-1"}, b'{"id":"m-2","channel":"store","text":"x","language":"tr"}')
    assert quick(way, body) is None
    good = b'{"id":"a","channel":"store","text":"x","language":"tr"}'
    assert quick(way, good) is not None


def test_one_that_needs_a_closer_look_does_not_keep_others_from_the_quick_way() -> None:
    way, texts = learned(SURVEY_EXAMPLE, SHOP), ("fine", "a\nb", "e\u0301", "x" * 20_000, "fine too")
    for base in (SURVEY_EXAMPLE, SHOP):
        bodies = [raw({**base, "text": text}) for text in texts]
        bodies += [raw({**base, "occurred_at": "2026-02-30T00:00:00Z"}), raw({**base, "id": "\u200cx"}), raw(base)]
        found = way.records(bodies, NOW, rfc3339(NOW), [TRACE] * len(bodies))
        assert [n for n, record in enumerate(found) if record is not None] == [0, 1, 4, 7]
        for body, record in zip(bodies, found, strict=True):
            expected = whole(body)
            assert record is None or (expected is not None and codec.decode(record).data == expected.data)


@pytest.mark.parametrize(
    "change",
    [{"revision": "1"}, {"score": "9"}, {"occurred_at": 1773134092}, {"customer": {"phone": "+90 532 000 00 00"}}],
)
def test_what_is_accepted_but_not_as_it_stands_has_no_form(change: dict[str, Any]) -> None:
    body = raw({**SURVEY_EXAMPLE, **change})
    assert quick(learned(body), body) is None
    absent = raw({**SURVEY_EXAMPLE, **dict.fromkeys(change.keys() & {"occurred_at", "customer"})})
    assert quick(learned(absent), absent) is not None


@pytest.mark.parametrize("word", ["{", "}", "[", ",", "null", "true", "1", ":", '"', "\\", '\\"'])
def test_words_may_look_like_json(word: str) -> None:
    body = raw({"id": "m-1", "channel": "store", "title": word, "text": word, "revision": 3, "thread_id": "t"})
    event, found = whole(body), quick(learned(body), body)
    assert found is not None
    assert event is not None
    assert found.data == event.data


def test_times_up_to_tomorrow_are_taken() -> None:
    way, day, now = learned(SHOP), timedelta(days=1), datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    near = [rfc3339(now), rfc3339(now - day), rfc3339(now + day), (now - day).isoformat(), "1990-01-01T00:00:00Z"]
    near += [now.astimezone(timezone(timedelta(hours=hours))).isoformat() for hours in (-23, 23)]
    far = [
        rfc3339(now + day + timedelta(seconds=1)),
        "1990-01-01T00:00:00+00:01",
        f"{rfc3339(now)[:10]}T23:59:59-23:59",
    ]
    for times, good in ((near, True), (far, False)):
        for group in (times, *([one] for one in times)):
            bodies = [raw({**SHOP, "occurred_at": one}) for one in group]
            found = way.records(bodies, now, rfc3339(now), ["00-long-trace-of-a-later-version"] * len(bodies))
            assert [record is not None for record in found] == [good] * len(group)
            for record in filter(None, found):
                assert codec.decode(record).traceparent == "00-long-trace-of-a-later-version"


def test_forms_are_bounded_and_the_first_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.quick._MOST_FORMS", 3)
    bodies = [
        raw({"id": "a", "channel": "store", "text": "x", **more}) for more in ({}, {"title": "y"}, {"public": True})
    ]
    way = learned(*bodies, {"id": "a", "channel": "store", "text": "x", "language": "tr", "url": "https://example.com"})
    assert [len(way._writings), *[quick(way, body) is not None for body in bodies]] == [3, True, True, True]
    long = raw({"id": "a", "channel": "store", "text": "x"}).replace(b"{", b"{" + b" " * 3000)
    assert quick(learned(long), long) is None, "frames are remembered: a long one could fill the memory"


def test_a_score_off_its_scale_is_not_taken() -> None:
    way = learned(SURVEY_EXAMPLE)
    for score, good in ((0, True), (10, True), (-1, False), (11, False), (5.5, False), (1e300, False)):
        assert (quick(way, raw({**SURVEY_EXAMPLE, "score": score})) is not None) == good


def test_frames_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.quick._MOST_FRAMES", 10)
    way = QuickWay(ORIGIN)
    for number in range(35):
        body = raw({"id": "a", "channel": f"c{number}", "text": "x"})
        event = whole(body)
        assert event is not None
        way.learn(body, event)
        assert quick(way, body) is not None
        assert sum(len(writing.frames) for writing in way._writings) <= 10
