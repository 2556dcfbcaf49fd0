"""What an answer is, and what is kept of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from services.scoring import intake as intake_module
from services.scoring.domain.answers import (
    NOTHING_ASKED,
    Block,
    Origin,
    Question,
    ids_of,
    moment_of,
    question_of,
    said_of,
    top_two_from,
    version_of,
)
from services.scoring.domain.rules import DEFAULT_ROLL_UPS
from services.scoring.domain.series import series_id, series_name, series_of
from services.scoring.domain.versions import contest, repeated
from services.scoring.intake import Intake
from shared.contracts.envelope import Event
from shared.contracts.examples import examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import NO_WORDS, IssueTag
from shared.core.errors import BadRecord
from tests.integration.scoring.support import answered, rating, recorded, understood

NOON = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)


def read(*events: Event[Any], intake: Intake | None = None) -> list[Block]:
    return (intake or Intake()).read(recorded(events))


def meaning(blocks: Sequence[Block]) -> list[tuple[Any, ...]]:
    """What rows say, whatever their numbers are."""
    found = []
    for block in blocks:
        persons = ids_of(block.rows, "person_low", "person_high")
        for row, feedback_id, person in zip(block.rows.tolist(), ids_of(block.rows), persons, strict=True):
            _, _, _, _, revision, at, value, origin, question, parts, removed = row
            asked = None if question == NOTHING_ASKED else block.questions[question]
            about = (block.workspace, feedback_id, person, revision, moment_of(at), block.origins[origin])
            found.append((*about, asked, value, parts, removed, block.causes[origin]))
    return found


def test_every_published_example_can_be_read() -> None:
    found = meaning(read(*examples(FeedbackReceivedV1)))
    assert sum(row[6] is not None for row in found) >= 5
    assert any(row[9] and row[6] is None for row in found)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1, 5, 4), (1, 7, 6), (0, 10, 9), (0, 1, 1), (1, 2, 2), (1, 3, 2), (0, 100, 99)]
)
def test_the_two_best_points(low: float, high: float, expected: float) -> None:
    assert top_two_from(low, high) == expected


def test_a_mean_stands_apart_by_scale() -> None:
    assert question_of(rating("rating", 4.35)).measure == "mean:1:5"
    assert question_of(rating("rating", 4.35, scale_max=10)).measure == "mean:1:10"
    assert question_of(rating("nps", 4)).measure == "nps"


@pytest.mark.parametrize(
    "fields",
    [
        {"metric": "csat", "value": 3, "formula": "nps"},
        {"metric": "rating", "value": 3, "scale_max": 1e12},
    ],
)
def test_what_no_rule_can_score_is_a_bad_record(fields: dict[str, object]) -> None:
    metric, value = str(fields.pop("metric")), float(str(fields.pop("value")))
    with pytest.raises(BadRecord, match="scale"):
        read(answered(1, rating(metric, value, **fields), at=NOON))


def test_an_answer_never_counts_later_than_it_was_received() -> None:
    event = answered(1, rating("nps", 9), at=NOON + timedelta(days=3), received_at=NOON)
    late = answered(1, rating("nps", 9), at=NOON - timedelta(days=3), received_at=NOON)
    intake = Intake()
    for _ in range(2):  # the whole way, and the quick one
        assert [row[4] for row in meaning(read(event, intake=intake))] == [NOON]
        assert [row[4] for row in meaning(read(late, intake=intake))] == [NOON - timedelta(days=3)]


def test_a_time_outside_the_calendar_is_a_bad_record() -> None:
    moment = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    with pytest.raises(BadRecord, match="calendar"):
        version_of(answered(1, rating("nps", 9), at=moment, received_at=NOON))


@pytest.mark.parametrize(("touchpoint", "expected"), [("store", "transactional"), (None, "relational")])
def test_a_review_that_no_survey_asked_for(touchpoint: str | None, expected: str) -> None:
    event = answered(1, rating("rating", 4), at=NOON, survey_type=None, touchpoint=touchpoint)
    assert version_of(event).origin.survey_type == expected


def test_series_of_an_answer() -> None:
    event = answered(1, rating("nps", 9), at=NOON, touchpoint="a|b,c=d", department="support", wave="w")
    version = version_of(event)
    [(question, _)] = version.ratings
    names = {series_name(key) for key in series_of("acme", question, version.origin, DEFAULT_ROLL_UPS)}
    assert names == {
        "nps|transactional|",
        "nps|transactional|touchpoint=a%7Cb%2Cc%3Dd",
        "nps|transactional|department=support",
        "nps|transactional|channel=email",
        "nps|transactional|wave=w",
        "nps|transactional|department=support,touchpoint=a%7Cb%2Cc%3Dd",
    }


def test_ids_of_series_differ_by_workspace() -> None:
    origin, asked = Origin("relational", None, None, None, None, None, "email", None), Question("nps", "nps", 0, 10)
    one, other = (
        {series_id(key) for key in series_of(name, asked, origin, DEFAULT_ROLL_UPS)} for name in ("acme", "lale")
    )
    assert len(one) == len(other) == 2
    assert not one & other


def test_what_adds_nothing_and_replaces_nothing_is_not_kept() -> None:
    intake = Intake()
    for _ in range(2):
        assert read(answered(1, at=NOON, survey_type=None), intake=intake) == []
        assert len(meaning(read(answered(1, at=NOON, survey_type=None, revision=1), intake=intake))) == 1
        # What it rated and what it said.
        assert len(meaning(read(answered(1, at=NOON, removed=True), intake=intake))) == 2


def test_the_quick_way_says_what_the_whole_way_says() -> None:
    events = [
        answered(1, rating("nps", 9), at=NOON, department="support", customer_id=UUID(int=7)),
        answered(2, rating("nps", 0), rating("ces", 5.25), at=NOON, wave="w1"),
        answered(2, at=NOON, revision=3, removed=True),
        answered(3, rating("rating", 0.1 + 0.2 + 1), at=NOON.astimezone(timezone(timedelta(hours=3, minutes=30)))),
        answered(4, rating("csat", 4), at=NOON - timedelta(days=9), workspace="lale", touchpoint="مغازه"),
        answered(5, at=NOON, revision=2**61),
        *examples(FeedbackReceivedV1),
    ]
    intake = Intake()
    whole = meaning(read(*events, intake=intake))
    assert len(whole) > 8
    assert meaning(read(*events, intake=intake)) == whole


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"value":9.0', b'"value":11.0'),
        (b'"value":9.0', b'"value":8.5'),
        (b'"value":9.0', b'"value":NaN'),
        (b'"scale_max":10.0', b'"scale_max":9.0'),
        (b'"occurred_at":"', b'"occurred_at":"x'),
        (b"2026-03-10T12:30:00Z", b"0000-03-10T12:30:00Z"),
        (b"2026-03-10T12:30:00Z", b"2026-02-30T12:30:00Z"),
        (b"2026-03-10T12:30:00Z", b"2026-03-10T25:30:00Z"),
        (b"2026-03-10T12:30:00Z", b"2026-03-10T12:30:00"),
        (b"2026-03-10T12:30:00Z", b"2026-03-10T12:30:00Z2026-03-10T12:30:00Z"),
        (b'"revision":0', b'"revision":-1'),
        (b'"revision":0', b'"revision":9223372036854775807'),
        (b'"channel":"email"', b'"channel":""'),
        (b'"channel":"email"', b'"channel":"' + b"x" * 81 + b'"'),
        (b'"feedback_id":"', b'"feedback_id":"z'),
        (b'"feedback_id":"', b'"feedback_id":"00'),
        (b"}", b""),
    ],
)
@pytest.mark.parametrize("met_before", [True, False])
def test_poison_is_found_on_both_ways(old: bytes, new: bytes, *, met_before: bool) -> None:
    good = answered(1, rating("nps", 9), at=NOON)
    intake = Intake()
    if met_before:
        read(good, intake=intake)
    [record] = recorded([good])
    assert old in record.value
    with pytest.raises(BadRecord):
        intake.read([*recorded([good]), replace(record, value=record.value.replace(old, new, 1))])


def test_an_id_that_is_spelled_otherwise_is_the_same_id() -> None:
    [record] = recorded([answered(1, rating("nps", 9), at=NOON)])
    [expected] = meaning(Intake().read([record]))
    spelled = str(expected[1]).encode()
    for other in (spelled.replace(b"-", b""), b"{" + spelled + b"}", b"urn:uuid:" + spelled, spelled.upper()):
        intake = Intake()
        intake.read([record])
        [found] = meaning(intake.read([replace(record, value=record.value.replace(spelled, other))]))
        assert found[1] == expected[1]


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [
        ("2026-03-10T15:30:00+03:00", 0),
        ("2026-03-10T12:30:00.000000Z", 0),
        ("2026-03-10T12:30:00.5Z", 0.5),
        ("2026-03-10T12:30:00.999999Z", 0.999999),
        ("2026-03-10 12:30:00Z", 0),
        ("1773145800", 0),
    ],
)
def test_a_time_that_is_spelled_otherwise_is_the_same_time(spelled: str, seconds: float) -> None:
    [record] = recorded([answered(1, rating("nps", 9), at=NOON, received_at=NOON + timedelta(days=1))])
    intake = Intake()
    intake.read([record])
    value = record.value.replace(b"2026-03-10T12:30:00Z", spelled.encode())
    [found] = meaning(intake.read([replace(record, value=value)]))
    assert found[4] == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize("routed", [False, True])
def test_what_is_remembered_is_bounded(*, routed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "_MOST_KNOWN", 20)
    intake = Intake()
    for number in range(100):
        event = answered(number, rating("nps", 9), at=NOON, product=f"p{number}")
        read(understood(event, "negative") if routed else event, intake=intake)
        assert len(intake._origins.met) <= 20


def test_the_version_that_counts() -> None:
    first = answered(1, rating("nps", 1), at=NOON)
    second = answered(1, rating("nps", 9), at=NOON, revision=2)
    removal = answered(1, at=NOON, revision=2, removed=True)
    for order in ([first, second, removal], [removal, second, first], [second, removal, first]):
        [block] = read(*order)
        outcome = contest(block.rows, range(4), {})
        assert sorted(outcome.dead) == np.flatnonzero(block.rows["removed"] == 0).tolist()
        assert outcome.replaced == {}
    [block] = read(first, second)
    stored = {first.data.feedback_id: (70, (0, 0))}
    assert contest(block.rows, range(2), stored) == ([0], {1: 70})
    assert contest(block.rows, range(2), {first.data.feedback_id: (70, (2, 1))}) == ([0, 1], {})


def test_which_hashes_repeat() -> None:
    hashes = np.array([1, 2, 2, 3, 4, 4, 4], dtype=np.uint64)
    assert repeated(hashes).tolist() == [False, True, True, False, True, True, True]
    assert repeated(hashes[:0]).tolist() == []
    assert repeated(hashes[:1]).tolist() == [False]


def test_bands_of_questions() -> None:
    assert Question("nps", "nps", 0, 10).bands() == (9, 6)
    assert Question("csat", "top_two", 1, 5).bands() == (4, -np.inf)
    assert Question("ces", "mean", 1, 7).bands() == (np.inf, -np.inf)


def test_a_message_counts_as_a_whole_and_once_for_each_issue() -> None:
    event = answered(1, at=NOON, survey_type=None, touchpoint="store")
    version = said_of(understood(event, "negative", "delivery", "price", department="support"))
    assert version.origin == Origin("transactional", None, "store", "support", None, None, "email", None)
    assert [(question.issue, value) for question, value in version.ratings] == [
        (None, -1),
        ("delivery", -1),
        ("price", -1),
    ]
    whole, issue = (
        series_of("acme", question, version.origin, DEFAULT_ROLL_UPS) for question, _ in version.ratings[:2]
    )
    assert {series_name(key) for key in whole} == {
        "sentiment|transactional|",
        "sentiment|transactional|channel=email",
        "sentiment|transactional|department=support",
        "sentiment|transactional|touchpoint=store",
        "sentiment|transactional|department=support,touchpoint=store",
    }
    assert {series_name(key) for key in issue} == {
        "sentiment|transactional|issue=delivery",
        "sentiment|transactional|department=support,issue=delivery",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"spam": True},
        {"understanding_version": NO_WORDS},
        {"issues": (IssueTag(issue="irrelevant", confidence=1),)},
    ],
)
def test_spam_silence_and_what_is_about_something_else_say_nothing(fields: dict[str, Any]) -> None:
    event = answered(1, at=NOON)
    assert read(understood(event, "negative", "price", **fields)) == []
    # A later revision may take back what an earlier one said.
    later = answered(1, at=NOON, revision=1)
    [block] = read(understood(later, "negative", "price", **fields))
    assert block.rows["question"].tolist() == [NOTHING_ASKED]


def test_a_department_that_the_source_names_goes_first_and_none_is_none() -> None:
    event = answered(1, at=NOON, department="warehouse")
    assert said_of(understood(event, "neutral", department="sales")).origin.department == "warehouse"
    assert said_of(understood(answered(1, at=NOON), "neutral")).origin.department is None


def test_what_is_said_stands_beside_what_is_rated_and_a_removal_takes_back_both() -> None:
    event = answered(1, rating("nps", 9), at=NOON)
    [rated], [said] = read(event), read(understood(event, "positive"))
    assert ids_of(rated.rows) != ids_of(said.rows)
    [removed] = read(answered(1, at=NOON, removed=True))
    assert set(ids_of(removed.rows)) == {*ids_of(rated.rows), *ids_of(said.rows)}
