"""Values that would become poison later are refused at the door of every contract."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.bus.codec import decode, encode
from shared.contracts.envelope import Event, EventData, Label, Part, Text
from shared.contracts.examples import Example
from shared.contracts.feedback_received import (
    DEFAULT_FORMULAS,
    DEFAULT_SCALES,
    FeedbackReceivedV1,
    Formula,
    Metric,
    Rating,
    SensitiveFeedback,
    Survey,
    band_of,
)
from shared.contracts.score_updated import Series
from tests.contract.contracts.samples import EXAMPLES, leaves, parsed, replaced, with_raw

TIME = re.compile(r"\d{4}-\d\d-\d\dT")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


class Words(Part):
    text: Text | None = None
    label: Label | None = None


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_no_number_is_infinite(kind: type[EventData], example: Example, token: str) -> None:
    for path, value in leaves(example.data):
        if isinstance(value, int | float) and not isinstance(value, bool):
            with pytest.raises(ValidationError):
                kind.model_validate_json(with_raw(example.data, path, token))
            with pytest.raises(ValidationError):
                kind.model_validate(replaced(example.data, path, float(token)))


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
@pytest.mark.parametrize("code", [0, 0xD800, 0xDFFF], ids=["nul", "high", "low"])
def test_no_text_holds_what_postgres_refuses(kind: type[EventData], example: Example, code: int) -> None:
    texts = [path for path, value in leaves(example.data) if isinstance(value, str)]
    if sensitive := kind.model_fields.get("sensitive"):
        assert sensitive.annotation is not None
        texts += [("sensitive", name) for name in sensitive.annotation.model_fields]
    for path in texts:
        spoilt = replaced(example.data, path, f"a{chr(code)}b")
        with pytest.raises(ValidationError):
            kind.model_validate_json(json.dumps(spoilt))
        with pytest.raises(ValidationError):
            kind.model_validate(spoilt)


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_times_are_aware_and_ids_are_ids(kind: type[EventData], example: Example) -> None:
    found = 0
    for path, value in leaves(example.data):
        if path[-1] in {"text", "reason"} or not isinstance(value, str):
            continue
        if TIME.match(value):
            found += 1
            naive = re.sub(r"(Z|[+-]\d\d:\d\d)$", "", value)
            with pytest.raises(ValidationError, match="timezone"):
                parsed(kind, Example("", {}, replaced(example.data, path, naive)))
        elif ID.fullmatch(value):
            with pytest.raises(ValidationError, match="UUID"):
                parsed(kind, Example("", {}, replaced(example.data, path, value[:-1])))
    assert found


@pytest.mark.parametrize("kind", [Rating, Series, FeedbackReceivedV1])
def test_contracts_are_frozen(kind: type[Part]) -> None:
    assert kind.model_config.get("frozen")
    assert kind.model_config.get("extra") == "ignore"


def rating(**changes: Any) -> Rating:
    return Rating(**{"metric": "csat", "value": 4, "scale_min": 1, "scale_max": 5, "formula": "top_two"} | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": 5.01}, "outside its scale 1–5"),
        ({"value": 0}, "outside its scale 1–5"),
        ({"scale_max": 1}, "scale_min must be below scale_max"),
        ({"scale_min": 9}, "scale_min must be below scale_max"),
        ({"metric": "nps", "formula": "nps"}, "nps is asked on 0–10"),
        ({"metric": "nps", "scale_min": 0, "scale_max": 10, "value": 8.5}, "whole number"),
        ({"value": float("nan")}, "finite number"),
        ({"metric": "stars"}, "'nps', 'csat', 'ces' or 'rating'"),
    ],
)
def test_a_rating_off_its_scale_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        rating(**changes)


def test_default_scales_and_formulas_name_known_metrics() -> None:
    assert set(DEFAULT_FORMULAS) == set(get_args(Metric))
    assert set(DEFAULT_FORMULAS.values()) <= set(get_args(Formula))
    for metric, (low, high) in DEFAULT_SCALES.items():
        assert rating(metric=metric, value=high, scale_min=low, scale_max=high, formula=DEFAULT_FORMULAS[metric])


def test_bands() -> None:
    assert [band_of(value) for value in range(11)] == ["detractor"] * 7 + ["passive"] * 2 + ["promoter"] * 2


@pytest.mark.parametrize(
    "changes", [{"survey": None}, {"ratings": [rating(), rating(value=1)]}, {"revision": 2**62 + 1}]
)
def test_an_incomplete_response_is_refused(changes: dict[str, Any]) -> None:
    moment = datetime(2026, 3, 10, tzinfo=UTC)
    good: dict[str, Any] = {
        "feedback_id": UUID(int=1),
        "kind": "survey_response",
        "occurred_at": moment,
        "received_at": moment,
        "source": "api",
        "connector": "api",
        "channel": "web",
        "survey": {"id": "s", "type": "relational"},
    }
    assert FeedbackReceivedV1(**good)
    with pytest.raises(ValidationError):
        FeedbackReceivedV1(**good | changes)


@pytest.mark.parametrize("label", ["خرید\u200cآنلاین", "Ürün Ağı", "👩\u200d💻", "x" * 80])
def test_a_label_may_be_spelled_as_people_spell(label: str) -> None:
    assert Words(label=label).label == label


@pytest.mark.parametrize("label", ["", "   ", "a\nb", "a\u202eb", "a\u200bb", "a\x7fb", "x" * 81])
def test_a_label_has_no_control_characters_and_an_end(label: str) -> None:
    with pytest.raises(ValidationError):
        Words(label=label)


def test_a_text_has_an_end() -> None:
    assert Words(text="\n😤" * 32_768)
    with pytest.raises(ValidationError):
        Words(text="a" * 65_537)


def test_two_sets_of_dimensions_never_spell_the_same_series() -> None:
    def name(**dimensions: str) -> str:
        return Series(metric="nps", survey_type="transactional", window="30d", dimensions=dimensions).name()

    assert name(touchpoint="store", department="support") == "nps|transactional|30d|department=support,touchpoint=store"
    assert name(product="a,touchpoint=b") != name(product="a", touchpoint="b")
    assert name(product="a%2Cb") != name(product="a,b")


WRITABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXTS = st.none() | st.text(WRITABLE, max_size=200)
LABELS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40).map(
    lambda t: f"{t}\u200c{t}"[:80]
)
TIMES = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001  the strategy adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=3)), timezone(-timedelta(hours=3, minutes=30))]),
)
NPS = st.builds(Rating, metric=st.just("nps"), value=st.integers(0, 10), scale_min=st.just(0), scale_max=st.just(10))
STARS = st.builds(
    Rating, metric=st.just("rating"), value=st.floats(0.5, 5), scale_min=st.just(0.5), scale_max=st.just(5)
)
FEEDBACK = st.builds(
    FeedbackReceivedV1,
    feedback_id=st.uuids(),
    revision=st.integers(0, 2**62),
    occurred_at=TIMES,
    received_at=TIMES,
    **dict.fromkeys(("source", "connector", "channel"), LABELS),
    **{name: st.none() | LABELS for name in ("touchpoint", "department", "product", "segment", "thread_id")},
    survey=st.builds(Survey, id=LABELS, wave=st.none() | LABELS),
    ratings=st.tuples() | st.tuples(NPS) | st.tuples(STARS, NPS),
    customer_id=st.none() | st.uuids(),
    language=st.sampled_from([None, "en", "tr", "fa"]),
    sensitive=st.builds(SensitiveFeedback, **dict.fromkeys(SensitiveFeedback.model_fields, TEXTS)),
)
EVENTS = st.builds(
    Event,
    id=st.uuids(),
    source=st.just("closeloop/ingest"),
    time=TIMES,
    workspace=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    correlation_id=st.uuids(),
    causation_id=st.none() | st.uuids(),
    data=FEEDBACK,
)


@given(EVENTS)
def test_any_feedback_survives_the_wire(event: Event[FeedbackReceivedV1]) -> None:
    message = encode(event)
    again = decode(message)
    assert again == event
    assert encode(again) == message
    assert again.record_key() == message.key
