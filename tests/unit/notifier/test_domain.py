"""Conditions, durations, ids, retry arithmetic."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain import (
    FACTS,
    RETRY_SECONDS,
    Condition,
    Malformed,
    Occasion,
    blocker,
    followup_id,
    parse_condition,
    parse_seconds,
    retry_seconds,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("5m", 300), ("2h", 7200), ("3d", 259200), ("1w", 604800), ("3 d", 259200)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1.5h", "3 days", "99999d", "1y", "٣d"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "facts", "holds"),
    [
        ("answered", {"answered": True}, True),
        ("answered", {"answered": False}, False),
        ("answered", {}, False),
        ("not answered", {}, True),
        ("band is detractor", {"band": "detractor"}, True),
        ("band is detractor", {"band": "passive"}, False),
        ("band is detractor", {"band": None}, False),
        ("band is not detractor", {"band": "passive"}, True),
        ("band is not detractor", {"band": None}, True),
        ("touchpoint in [delivery, Store]", {"touchpoint": "STORE"}, True),
        ("touchpoint in [delivery, store]", {"touchpoint": "web"}, False),
        ("  band   is   promoter ", {"band": "promoter"}, True),
    ],
)
def test_conditions(text: str, facts: dict[str, object], holds: bool) -> None:
    assert parse_condition(text).holds(facts) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bliss",
        "not",
        "not not answered",
        "band",
        "band is",
        "band is happy",
        "band in promoter",
        "band is [promoter]",
        "mood is good",
        "touchpoint in []",
        "touchpoint in [a,,b]",
        "band == promoter",
        "__import__('os')",
        "{{7*7}}",
    ],
)
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        parse_condition(text)


@given(st.sampled_from(FACTS), st.booleans())
def test_a_condition_reads_as_it_is_written(name: str, negated: bool) -> None:
    condition = Condition(name, negated=negated)
    assert parse_condition(str(condition)) == condition


@given(st.text(max_size=80))
def test_any_text_is_a_condition_or_malformed(text: str) -> None:
    try:
        condition = parse_condition(text)
    except Malformed:
        return
    assert parse_condition(str(condition)) == condition


def test_the_first_reason_is_named() -> None:
    unless = [parse_condition("answered"), parse_condition("newer_feedback")]
    when = [parse_condition("has_case")]
    assert blocker(when, unless, {"newer_feedback": True}) == "unless newer_feedback"
    assert blocker(when, unless, {}) == "when has_case: not so"
    assert blocker(when, unless, {"has_case": True}) is None


@given(st.integers(1, 7), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_a_fifth(tries: int, random: float) -> None:
    seconds = retry_seconds(tries, schedule=RETRY_SECONDS, random=random)
    assert seconds is not None
    assert 0.8 * RETRY_SECONDS[tries] <= seconds <= 1.2 * RETRY_SECONDS[tries]


@given(st.integers(1, 7), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9))
def test_retry_after_counts_between_one_and_two_times(tries: int, random: float, asked: float) -> None:
    seconds = retry_seconds(tries, schedule=RETRY_SECONDS, random=random, retry_after=asked)
    assert seconds is not None
    assert RETRY_SECONDS[tries] <= seconds <= 2 * RETRY_SECONDS[tries]


def test_the_schedule_is_the_published_one_and_ends() -> None:
    assert RETRY_SECONDS == (0, 5, 300, 1800, 7200, 18000, 36000, 36000)
    assert retry_seconds(8, schedule=RETRY_SECONDS, random=0.5) is None


def test_ids_repeat_with_what_they_stand_for() -> None:
    def occasion(workspace: str = "lale", occurrence: str = "") -> Occasion:
        return Occasion(
            workspace, "at_risk", uuid4(), uuid4(), None, datetime.now(UTC), feedback, occurrence=occurrence
        )

    feedback = uuid4()
    base = followup_id(occasion(), "play", "step")
    assert base == followup_id(occasion(), "play", "step")
    others = {
        followup_id(occasion("other"), "play", "step"),
        followup_id(occasion(occurrence="2"), "play", "step"),
        followup_id(occasion(), "play", "other"),
        followup_id(occasion(), "other", "step"),
    }
    assert len(others | {base}) == 5
