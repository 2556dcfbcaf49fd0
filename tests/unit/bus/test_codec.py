"""Bytes that are no event become BadRecord, which says where and why, and never what: records hold people's words."""

import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from shared.bus.codec import decode, decode_parts, encode
from shared.bus.port import Headers
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1, SensitiveFeedback
from shared.core.errors import BadRecord
from shared.telemetry.tracing import configure_tracing, span

SECRET = "nora.whitfield@example.com"
MOMENT = datetime(2026, 3, 10, 9, 14, 53, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT = Event(
    id=UUID(int=1),
    source="closeloop/ingest",
    time=MOMENT,
    workspace="lale",
    correlation_id=UUID(int=2),
    causation_id=None,
    data=FeedbackReceivedV1(
        feedback_id=UUID(int=2),
        kind="message",
        occurred_at=MOMENT,
        received_at=MOMENT,
        source="api",
        connector="cloudevents",
        channel="chat",
        sensitive=SensitiveFeedback(email=SECRET),
    ),
)
MESSAGE = encode(EVENT)


def with_header(name: str, value: bytes | None) -> Headers:
    """The headers of MESSAGE with one replaced, or left out."""
    others = tuple(header for header in MESSAGE.headers if header[0] != name)
    return others if value is None else (*others, (name, value))


def test_binary_mode_on_the_wire() -> None:
    assert MESSAGE.topic == "feedback.received.v1"
    assert MESSAGE.key == b"lale/00000000-0000-0000-0000-000000000002"
    assert dict(MESSAGE.headers) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": b"00000000-0000-0000-0000-000000000001",
        "ce_type": b"dev.closeloop.feedback.received.v1",
        "ce_source": b"closeloop/ingest",
        "ce_time": b"2026-03-10T09:14:53Z",
        "ce_workspace": b"lale",
        "ce_correlationid": b"00000000-0000-0000-0000-000000000002",
    }
    assert b"null" not in MESSAGE.value
    assert decode(MESSAGE) == EVENT


def test_header_names_may_come_in_any_case() -> None:
    headers = tuple((name.upper(), value) for name, value in MESSAGE.headers)
    assert decode_parts(headers, MESSAGE.value) == EVENT


def test_cause_and_trace_go_along() -> None:
    event = replace(EVENT, causation_id=UUID(int=3), traceparent=TRACE)
    assert decode(encode(event)) == event


def test_the_current_trace_wins_over_the_one_that_came() -> None:
    configure_tracing()
    with span("work", TRACE):
        sent = decode(encode(replace(EVENT, traceparent=None))).traceparent
    assert sent is not None
    assert sent.split("-")[1] == TRACE.split("-")[1]
    assert sent.split("-")[2] != TRACE.split("-")[2]


def test_a_time_without_a_zone_is_not_sent() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        encode(replace(EVENT, time=MOMENT.replace(tzinfo=None)))


def test_times_leave_in_utc() -> None:
    elsewhere = replace(EVENT, time=MOMENT.astimezone(timezone(timedelta(hours=3))))
    assert encode(elsewhere).headers == MESSAGE.headers


REQUIRED = ["ce_type", "ce_id", "ce_source", "ce_time", "ce_workspace", "ce_correlationid"]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(BadRecord, match=f"^header {name} is missing$"):
        decode_parts(with_header(name, None), MESSAGE.value)


@pytest.mark.parametrize("name", [*REQUIRED, "ce_causationid", "traceparent"])
@pytest.mark.parametrize(("value", "reason"), [(b"\xff" + SECRET.encode(), "not UTF-8"), (b"a\x00", r"U\+0000")])
def test_an_unreadable_header_is_named(name: str, value: bytes, reason: str) -> None:
    with pytest.raises(BadRecord, match=f"^header {name} .*{reason}") as caught:
        decode_parts(with_header(name, value), MESSAGE.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ce_id", SECRET, "is not a UUID"),
        ("ce_correlationid", SECRET, "is not a UUID"),
        ("ce_causationid", SECRET, "is not a UUID"),
        ("ce_time", SECRET, "is not a time"),
        ("ce_time", "2026-03-10T09:14:53", "is a time without a zone"),
        ("ce_time", "2026-03-10", "is a time without a zone"),
        ("ce_workspace", SECRET, "is not the name of a workspace"),
        ("ce_workspace", "", "is not the name of a workspace"),
        ("ce_workspace", "lale\n", "is not the name of a workspace"),
        ("ce_workspace", "a" * 64, "is not the name of a workspace"),
    ],
)
def test_a_bad_header_is_named_without_its_content(name: str, value: str, reason: str) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_parts(with_header(name, value.encode()), MESSAGE.value)
    assert caught.value.detail == f"header {name} {reason}"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_unknown_type_is_named_and_cut() -> None:
    with pytest.raises(BadRecord, match=r"unknown event type 'dev\.closeloop\.feedback\.received\.v2'"):
        decode_parts(with_header("ce_type", b"dev.closeloop.feedback.received.v2"), MESSAGE.value)
    with pytest.raises(BadRecord) as caught:
        decode_parts(with_header("ce_type", b"x" * 10_000), MESSAGE.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"{", "$"),
        (f'"{SECRET}"'.encode(), "$"),
        (f'{{"{SECRET}'.encode(), "$"),
        (b"\xff\xfe" + SECRET.encode(), "$"),
        (b"[]", "$"),
        (MESSAGE.value.replace(b'"message"', f'"{SECRET}"'.encode()), "kind"),
        (MESSAGE.value.replace(b'"2026-03-10T09:14:53Z"', f'"{SECRET}"'.encode()), "occurred_at"),
        (MESSAGE.value.replace(b'"00000000-0000-0000-0000-000000000002"', f'"{SECRET}"'.encode()), "feedback_id"),
        (MESSAGE.value.replace(b'"chat"', f'"{SECRET}\\n!"'.encode()), "channel"),
        (MESSAGE.value.replace(SECRET.encode(), f"{SECRET}\\u0000".encode()), "sensitive.email"),
        (MESSAGE.value.replace(SECRET.encode(), f"{SECRET}\\ud800".encode()), "$"),
    ],
)
def test_a_bad_body_says_where_and_never_what(body: bytes, path: str) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_parts(MESSAGE.headers, body)
    assert caught.value.detail == "the data does not fit its schema"
    assert path in [fault.path for fault in caught.value.faults]
    assert SECRET not in "".join([str(caught.value), *(str(fault) for fault in caught.value.faults)])
    assert SECRET not in "".join(traceback.format_exception(caught.value))
