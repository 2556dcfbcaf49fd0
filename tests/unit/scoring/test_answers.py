"""What an answer adds, and that taking it back leaves nothing."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.scoring.domain.answers import (
    Deltas,
    answer_of,
    dump_points,
    latest_versions,
    load_points,
    point_of,
    series_name,
    series_of,
    top_two_from,
)
from services.scoring.domain.windows import hour_of
from shared.contracts.examples import examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.core.errors import BadRecord
from tests.integration.scoring.support import answered, rating

NOON = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)


def test_every_published_example_can_be_counted() -> None:
    answers = [answer_of(event) for event in examples(FeedbackReceivedV1)]
    assert sum(len(answer.points) for answer in answers) >= 5
    assert any(answer.removed and not answer.points for answer in answers)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1, 5, 4), (1, 7, 6), (0, 10, 9), (0, 1, 1), (1, 2, 2), (1, 3, 2), (0, 100, 99)]
)
def test_the_two_best_points(low: float, high: float, expected: float) -> None:
    assert top_two_from(low, high) == expected


@pytest.mark.parametrize(
    ("value", "top", "bottom"), [(10, 1, 0), (9, 1, 0), (8, 0, 0), (7, 0, 0), (6, 0, 1), (0, 0, 1)]
)
def test_bands(value: int, top: int, bottom: int) -> None:
    point = point_of(rating("nps", value))
    assert (point.measure, point.top, point.bottom) == ("nps", top, bottom)


def test_a_mean_is_kept_to_the_millionth_and_apart_by_scale() -> None:
    point = point_of(rating("rating", 4.35))
    assert (point.measure, point.micro) == ("mean:1:5", 4_350_000)
    assert point_of(rating("rating", 4.35, scale_max=10)).measure == "mean:1:10"


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
        point_of(rating(metric, value, **fields))


def test_an_answer_never_counts_later_than_it_was_received() -> None:
    event = answered(1, rating("nps", 9), at=NOON + timedelta(days=3), received_at=NOON)
    assert answer_of(event).occurred_at == NOON
    late = answered(1, rating("nps", 9), at=NOON - timedelta(days=3), received_at=NOON)
    assert answer_of(late).occurred_at == NOON - timedelta(days=3)


def test_a_time_outside_the_calendar_is_a_bad_record() -> None:
    moment = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    with pytest.raises(BadRecord, match="calendar"):
        answer_of(answered(1, rating("nps", 9), at=moment, received_at=NOON))


@pytest.mark.parametrize(("touchpoint", "expected"), [("store", "transactional"), (None, "relational")])
def test_a_review_that_no_survey_asked_for(touchpoint: str | None, expected: str) -> None:
    event = answered(1, rating("rating", 4), at=NOON, survey_type=None, touchpoint=touchpoint)
    assert answer_of(event).survey_type == expected


def test_series_of_an_answer() -> None:
    event = answered(1, rating("nps", 9), at=NOON, touchpoint="a|b,c=d", department="support", wave="w")
    answer = answer_of(event)
    names = {series_name(key) for _, key in series_of("acme", "nps", answer.survey_type, answer.dimensions)}
    assert names == {
        "nps|transactional|",
        "nps|transactional|touchpoint=a%7Cb%2Cc%3Dd",
        "nps|transactional|department=support",
        "nps|transactional|channel=email",
        "nps|transactional|wave=w",
        "nps|transactional|department=support,touchpoint=a%7Cb%2Cc%3Dd",
    }


def test_ids_of_series_differ_by_workspace() -> None:
    dimensions = (None, None, None, None, "email", None)
    one, other = (dict(series_of(name, "nps", "relational", dimensions)) for name in ("acme", "lale"))
    assert len(one) == len(other) == 2
    assert not one.keys() & other.keys()


def test_taking_back_leaves_nothing() -> None:
    event = answered(1, rating("nps", 9), rating("rating", 4.1), at=NOON, department="support")
    deltas = Deltas()
    deltas.add(answer_of(event), 1, event)
    assert len(deltas.buckets()) == 2 * 2 * 3  # two metrics, hour and day, three series each
    deltas.add(answer_of(event), -1, event)
    assert deltas.buckets() == []
    assert deltas.hours() == {}


def test_a_move_within_a_day_changes_hours_alone() -> None:
    before = answered(1, rating("nps", 9), at=NOON)
    after = answered(1, rating("nps", 9), at=NOON - timedelta(hours=2), revision=1)
    deltas = Deltas()
    deltas.add(answer_of(before), -1, before)
    deltas.add(answer_of(after), 1, after)
    assert {(bucket.grain, bucket.slot, sums[0]) for bucket, sums in deltas.buckets()} == {
        ("h", hour_of(NOON) - 2, 1),
        ("h", hour_of(NOON), -1),
    }
    assert set(deltas.hours().values()) == {hour_of(NOON)}


def test_the_version_that_counts() -> None:
    first = answered(1, rating("nps", 1), at=NOON)
    second = answered(1, rating("nps", 9), at=NOON, revision=2)
    removal = answered(1, at=NOON, revision=2, removed=True)
    for order in ([first, second, removal], [removal, second, first], [second, removal, first]):
        [(answer, event)] = latest_versions([(answer_of(event), event) for event in order])
        assert event is removal
        assert answer.points == ()


def test_what_adds_nothing_and_replaces_nothing_is_not_kept() -> None:
    assert answer_of(answered(1, at=NOON, survey_type=None)).is_void
    assert not answer_of(answered(1, at=NOON, survey_type=None, revision=1)).is_void
    assert not answer_of(answered(1, at=NOON, removed=True)).is_void


def test_points_are_stored_exactly() -> None:
    points = (point_of(rating("rating", 0.1 + 0.2 + 1)), point_of(rating("nps", 3)))
    assert load_points(json.loads(dump_points(points))) == points
