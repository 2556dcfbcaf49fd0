from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.routing.domain.hours import Hours
from services.routing.domain.need import needs_answer, unhappy
from services.routing.domain.priority import level, terms, total, waiting_term
from services.routing.domain.roster import Sla
from shared.contracts.feedback_received import FeedbackReceivedV1, Rating, Survey

NOW = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
DAY = 86_400


def feedback(metric: str | None = None, value: float = 0, **more: Any) -> FeedbackReceivedV1:
    scales = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7), "rating": (1, 5)}
    ratings = ()
    if metric:
        low, high = scales[metric]
        ratings = (Rating(metric=metric, value=value, scale_min=low, scale_max=high, formula="mean"),)  # type: ignore[arg-type]
    return FeedbackReceivedV1(
        **{
            "feedback_id": uuid4(),
            "kind": "message",
            "occurred_at": NOW,
            "received_at": NOW,
            "source": "s",
            "connector": "c",
            "channel": "email",
            "ratings": ratings,
            **more,
        }
    )


SURVEY = {"kind": "survey_response", "survey": Survey(id="s", type="transactional")}


@pytest.mark.parametrize(
    ("data", "tags", "priority", "names"),
    [
        (feedback(), {}, "low", set()),
        (feedback(), {"actionable": True}, "normal", {"actionable"}),
        (feedback(), {"actionable": True, "sentiment": "negative"}, "normal", {"actionable", "sentiment"}),
        (
            feedback(public=True),
            {"actionable": True, "sentiment": "negative", "urgency": "high"},
            "urgent",
            {"actionable", "sentiment", "urgency", "reach"},
        ),
        (feedback(public=True), {"sentiment": "positive"}, "low", set()),
        (feedback("nps", 3), {"sentiment": "unknown"}, "high", {"band", "sentiment"}),
        (
            feedback("nps", 3),
            {"actionable": True, "sentiment": "negative"},
            "high",
            {"band", "sentiment", "actionable"},
        ),
        (feedback("nps", 3, segment="VIP"), {"actionable": True, "sentiment": "negative"}, "urgent", None),
        (feedback("nps", 3), {"urgency": "high"}, "urgent", {"band", "urgency"}),
        (feedback("nps", 9), {}, "low", set()),
        (feedback("csat", 2), {"actionable": True}, "high", {"rating", "actionable"}),
        (feedback(), {"urgency": "high", "urgency_reason": "safety", "actionable": True}, "urgent", None),
    ],
)
def test_priority_is_a_sum_with_names(
    data: FeedbackReceivedV1, tags: dict[str, Any], priority: str, names: set[str] | None
) -> None:
    known = {"sentiment": "neutral", "urgency": "normal", "urgency_reason": None, "actionable": False, **tags}
    found = terms(data, **known, segments={"vip": 20})
    assert level(total(found)) == priority
    assert names is None or {term.name for term in found} == names


def test_waiting_counts_up_to_a_limit() -> None:
    assert [waiting_term(seconds).value for seconds in (0, 3600, 5400, DAY)] == [0, 10, 15, 20]


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [("nps", 6, True), ("nps", 7, False), ("csat", 2, True), ("csat", 3, False), ("ces", 3, True), ("ces", 4, False)],
)
def test_unhappy(metric: str, value: float, expected: bool) -> None:
    assert unhappy(feedback(metric, value)) is expected


@pytest.mark.parametrize(
    ("data", "actionable", "spam", "expected"),
    [
        (feedback(), True, False, True),
        (feedback(), True, True, False),
        (feedback(), False, False, False),
        (feedback("nps", 0, **SURVEY), False, True, True),
        (feedback("nps", 10, **SURVEY), False, False, False),
        (feedback("nps", 8, **SURVEY), True, False, True),
        (feedback("rating", 1), False, False, True),
        (feedback("rating", 1), False, True, False),
        (feedback("nps", 0, **SURVEY, removed=True), True, False, False),
        (feedback("nps", 0, **SURVEY, occurred_at=NOW - timedelta(seconds=DAY + 1)), True, False, False),
        (feedback("nps", 0, **SURVEY, occurred_at=NOW - timedelta(seconds=DAY - 1)), True, False, True),
    ],
)
def test_who_needs_an_answer(data: FeedbackReceivedV1, actionable: bool, spam: bool, expected: bool) -> None:
    assert needs_answer(data, actionable=actionable, spam=spam, history_after_seconds=DAY) is expected


def test_the_clock_runs_in_calendar_time_or_in_open_hours() -> None:
    sla = Sla({"urgent": 3600, "low": None}, 0.5)
    assert sla.clock("urgent", NOW) == (NOW + timedelta(minutes=30), NOW + timedelta(hours=1))
    assert sla.clock("low", NOW) is None
    assert sla.clock("high", NOW) is None
    friday = NOW.replace(hour=16, minute=30)
    office = Sla({"urgent": 3600}, 0.5, Hours("UTC", (((540, 1020),),) * 5 + ((), ())))
    assert office.clock("urgent", friday) == (
        datetime(2026, 3, 6, 17, tzinfo=UTC),
        datetime(2026, 3, 9, 9, 30, tzinfo=UTC),
    )
