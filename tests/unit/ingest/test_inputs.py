from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest import domain, examples
from services.ingest.canonical import Origin, Refused, event_of
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.core.clock import utc_now

ORIGIN = Origin("lale", "api", "api")
SURVEY = {"id": "s", "type": "transactional"}


def made(item: Any, **options: Any) -> Event[FeedbackReceivedV1]:
    return event_of(item, ORIGIN, utc_now(), **options)


def refused(item: Any) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        event_of(item, ORIGIN, utc_now(), at=(3,))
    return {fault.path: fault.reason for fault in caught.value.faults}


@pytest.mark.parametrize(
    ("item", "path", "reason"),
    [
        ([], "[3]", "must be an object"),
        ("text", "[3]", "must be an object"),
        ({}, "[3]", "says nothing"),
        ({"channel": "web"}, "[3]", "says nothing"),
        ({"text": "a", "kind": "review"}, "[3].kind", "survey_response"),
        ({"text": "a", "chanel": "web"}, "[3].chanel", "is not a field"),
        ({"text": "a", "kind": "survey_response"}, "[3].survey", "names its survey"),
        ({"text": "a", "survey": {"id": "s"}}, "[3].survey.type", "required"),
        ({"metric": "stars", "score": 9, "ratings": [{"metric": "nps", "value": 9}]}, "[3].metric", "'nps'"),
        ({"metric": "nps", "score": 11}, "[3].score", "outside its scale 0–10"),
        ({"metric": "nps", "score": 9.5}, "[3].score", "whole number"),
        ({"metric": "nps", "score": True}, "[3].score", "must be a number"),
        ({"metric": "csat", "score": 0}, "[3].score", "outside its scale 1–5"),
        ({"metric": "rating", "score": 4}, "[3].score", "give scale_min and scale_max"),
        ({"score": 4}, "[3].score", "say what it measures"),
        ({"metric": "nps"}, "[3].score", "without a score"),
        ({"metric": "nps", "score": 1, "ratings": [{"metric": "nps", "value": 2}]}, "[3].ratings", "one rating per"),
        ({"ratings": [{"metric": "ces", "value": 8}]}, "[3].ratings[0].value", "outside its scale 1–7"),
        ({"ratings": [{"metric": "ces"}]}, "[3].ratings[0].value", "required"),
        (
            {"ratings": [{"metric": "rating", "value": 1, "scale_min": 5, "scale_max": 1}]},
            "[3].ratings[0].value",
            "empty",
        ),
        ({"ratings": [{"metric": "nps", "value": 1, "scale_max": 5}]}, "[3].ratings[0].value", "asked on 0–10"),
        (
            {"ratings": [{"metric": "csat", "value": 5, "formula": "nps"}]},
            "[3].ratings[0].value",
            "needs the scale 0–10",
        ),
        ({"text": "a", "occurred_at": "2026-01-01T00:00:00"}, "[3].occurred_at", "has no zone"),
        ({"text": "a", "occurred_at": "0001-01-01T00:00:00+14:00"}, "[3].occurred_at", "between 1990"),
        ({"text": "a", "occurred_at": 32503680000}, "[3].occurred_at", "between 1990"),
        ({"text": "a", "occurred_at": 1e300}, "[3].occurred_at", "datetime"),
        ({"text": "a", "customer": {"email": "nora"}}, "[3].customer.email", "e-mail"),
        ({"text": "a", "customer": {"phone": "call me"}}, "[3].customer.phone", "phone number"),
        ({"text": "a", "customer": {"id": "a\nb"}}, "[3].customer.id", "control characters"),
        ({"text": "a", "id": "a\x1fb"}, "[3].id", "control characters"),
        ({"text": "a", "url": "javascript:alert(1)"}, "[3].url", "http"),
        ({"text": "a", "language": "klingon"}, "[3].language", "ISO 639-1"),
        ({"text": "a", "revision": -1}, "[3].revision", "greater"),
        ({"text": "a", "channel": "x" * 81}, "[3].channel", "80"),
        ({"id": "a", "removed": True}, "[3]", "revision above"),
        ({"revision": 2, "removed": True}, "[3]", "needs the id"),
    ],
)
def test_refuses_with_path_and_reason(item: Any, path: str, reason: str) -> None:
    found = refused(item)
    assert path in found
    assert reason in found[path]


def test_reasons_never_repeat_what_was_sent() -> None:
    secret = "nora-9f31"
    item = {
        "text": secret,
        "kind": secret,
        "customer": {"email": secret, "phone": secret},
        "url": secret,
        "score": secret,
    }
    assert secret not in str(refused(item))


def test_examples_become_events() -> None:
    event = made(examples.SURVEY_EXAMPLE)
    data = event.data
    assert (data.kind, data.channel, data.department, data.language) == ("survey_response", "email", "support", "en")
    assert [(r.metric, r.value, r.scale_min, r.scale_max, r.formula) for r in data.ratings] == [
        ("nps", 3, 0, 10, "nps")
    ]
    assert data.sensitive.email == "nora@example.com"
    assert event.correlation_id == data.feedback_id
    assert made(examples.RATING_EXAMPLE).data.ratings[0].formula == "mean"
    assert made(examples.REMOVAL_EXAMPLE).data.removed
    assert made(examples.REMOVAL_EXAMPLE).data.feedback_id == data.feedback_id
    assert made(examples.CORRECTION_EXAMPLE).data.feedback_id == data.feedback_id


def test_ids_repeat_with_workspace_source_object_and_revision() -> None:
    item = {"id": "7", "text": "a"}
    first = made(item)
    assert made({"id": "7", "text": "b"}).id == first.id
    assert made({**item, "revision": 1}).id != first.id
    assert made({**item, "revision": 1}).data.feedback_id == first.data.feedback_id
    for other in (Origin("gul", "api", "api"), Origin("lale", "import", "api")):
        foreign = event_of(item, other, utc_now())
        assert foreign.id != first.id
        assert foreign.data.feedback_id != first.data.feedback_id


def test_without_an_id_the_key_counts_and_else_the_content() -> None:
    assert made({"text": "a"}).id == made({"text": "a"}).id
    assert made({"text": "a"}).id != made({"text": "b"}).id
    assert made({"text": "a"}, fallback_id="key:1").id == made({"text": "b"}, fallback_id="key:1").id
    assert made({"text": "a", "id": "x"}, fallback_id="key:1").id == made({"text": "a", "id": "x"}).id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"email": "Nora@Example.com"}, {"email": " nora@example.com "}),
        ({"id": "NORA@example.com"}, {"email": "nora@example.com"}),
        ({"phone": "+90 (532) 000-00-00"}, {"phone": "00905320000000"}),
        ({"handle": "@Nora"}, {"handle": "nora"}),
        ({"id": "C-1", "email": "a@example.com"}, {"id": "C-1", "email": "b@example.com"}),
    ],
)
def test_one_person_is_one_pseudonym(one: dict[str, str], other: dict[str, str]) -> None:
    ids = {made({"text": "a", "channel": "forum", "customer": customer}).data.customer_id for customer in (one, other)}
    assert len(ids) == 1
    assert None not in ids


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": "C-1"}, {"id": "c-1"}),
        ({"email": "a@example.com"}, {"email": "b@example.com"}),
        ({"phone": "5320000000"}, {"phone": "+5320000000"}),
    ],
)
def test_different_people_are_told_apart(one: dict[str, str], other: dict[str, str]) -> None:
    ids = {made({"text": "a", "customer": customer}).data.customer_id for customer in (one, other)}
    assert len(ids) == 2


def test_a_handle_belongs_to_its_channel_and_a_person_to_a_workspace() -> None:
    on = [
        made({"text": "a", "channel": channel, "customer": {"handle": "ali"}}).data.customer_id
        for channel in ("x", "forum")
    ]
    assert on[0] != on[1]
    assert domain.customer_id("lale", "a@b") != domain.customer_id("gul", "a@b")


def test_a_name_alone_is_nobody() -> None:
    data = made({"text": "a", "customer": {"name": "J. Okafor"}}).data
    assert (data.customer_id, data.sensitive.name) == (None, "J. Okafor")


def test_defaults() -> None:
    before = utc_now()
    data = made({"text": "a", "language": "en-US"}).data
    assert (data.kind, data.channel, data.public, data.revision, data.language) == ("message", "api", False, 0, "en")
    assert before <= data.occurred_at <= utc_now()
    assert made({"survey": SURVEY, "score": 5, "metric": "csat"}).data.kind == "survey_response"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none()
            | st.booleans()
            | st.floats()
            | st.integers()
            | st.text()
            | st.lists(st.integers(), max_size=2)
            for name in examples.SURVEY_EXAMPLE
        },
    )
)
def test_anything_is_an_event_or_refused(item: dict[str, Any]) -> None:
    try:
        event = made({**examples.SURVEY_EXAMPLE, **item})
    except Refused as error:
        paths = [fault.path for fault in error.faults]
    else:
        paths = []
        assert event.data.occurred_at <= datetime.now(UTC) + timedelta(days=1)
    assert all(paths)
