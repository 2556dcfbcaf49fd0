"""Every example is a real event: by schema, by model, through the codec, and for a reader that is older than it."""

import json
from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from shared.bus.codec import decode, encode
from shared.contracts.attributes import CloudEventsHeaders
from shared.contracts.envelope import EventData
from shared.contracts.examples import FOLDER, Example, example_files, examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.generate import SCHEMAS
from shared.contracts.registry import EVENTS
from shared.core.errors import InvalidInput
from tests.contract.contracts.samples import EXAMPLES, KINDS, parsed

FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


@FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value


def committed(kind: type[EventData]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{kind.__name__}.json").read_text(encoding="utf-8"))
    return schema


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_a_json_schema_that_names_itself(kind: type[EventData]) -> None:
    schema = committed(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:closeloop:event:{kind.event_type}"
    assert schema["title"] == kind.__name__
    assert schema["description"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_event_has_at_least_three_examples(kind: type[EventData]) -> None:
    assert len(examples(kind)) >= 3


def test_no_example_stands_in_an_unknown_folder() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == {kind.__name__ for kind in EVENTS}


def test_every_example_is_an_event_of_its_own() -> None:
    ids = Counter(event.id for kind in EVENTS for event in examples(kind))
    assert [id_ for id_, times in ids.items() if times > 1] == []


def test_examples_cover_what_the_lists_name() -> None:
    received = examples(FeedbackReceivedV1)
    assert {"en", "tr", "fa"} <= {event.data.language for event in received}
    assert {"nps", "csat", "ces", "rating"} <= {rating.metric for event in received for rating in event.data.ratings}
    assert any(event.data.removed for event in received)
    assert any(event.data.revision == 2 and not event.data.removed for event in received)


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_the_schema_accepts_it(kind: type[EventData], example: Example) -> None:
    validator = Draft202012Validator(committed(kind), format_checker=FORMATS)
    assert [error.message for error in validator.iter_errors(example.data)] == []


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_the_schema_accepts_what_the_codec_writes(kind: type[EventData], example: Example) -> None:
    event = next(event for event in examples(kind) if str(event.id) == example.headers["ce_id"])
    validator = Draft202012Validator(committed(kind), format_checker=FORMATS)
    assert [error.message for error in validator.iter_errors(json.loads(encode(event).value))] == []


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_the_headers_are_what_the_codec_writes(kind: type[EventData], example: Example) -> None:
    event = next(event for event in examples(kind) if str(event.id) == example.headers["ce_id"])
    assert {name: value.decode() for name, value in encode(event).headers} == example.headers
    validator = Draft202012Validator(CloudEventsHeaders.model_json_schema(), format_checker=FORMATS)
    assert [error.message for error in validator.iter_errors(example.headers)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_equal_byte_by_byte(kind: type[EventData]) -> None:
    for event in examples(kind):
        message = encode(event)
        assert decode(message) == event
        assert encode(decode(message)) == message


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_an_old_reader_ignores_what_a_newer_writer_adds(kind: type[EventData], example: Example) -> None:
    newer = Example(example.name, example.headers, grown(example.data))
    assert newer.data != example.data
    assert parsed(kind, newer) == parsed(kind, example)
    assert Draft202012Validator(committed(kind), format_checker=FORMATS).is_valid(newer.data)


def grown(value: Any) -> Any:
    """The same with unknown properties in every object; `dimensions` is a map, where each entry has a meaning."""
    if isinstance(value, list):
        return [grown(item) for item in value]
    if isinstance(value, dict):
        return {name: item if name == "dimensions" else grown(item) for name, item in value.items()} | {
            "of_a_later_version": {"a": [1, None]}
        }
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_and_the_schema_refuse_the_same_absences(kind: type[EventData]) -> None:
    validator = Draft202012Validator(committed(kind), format_checker=FORMATS)
    example = example_files(kind)[0]
    for name in example.data:
        less = Example(example.name, example.headers, {key: v for key, v in example.data.items() if key != name})
        if name in committed(kind)["required"]:
            assert not validator.is_valid(less.data), name
            with pytest.raises(ValueError, match=name):
                parsed(kind, less)
        else:
            assert validator.is_valid(less.data), name


def test_a_wrong_example_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    example = example_files(FeedbackReceivedV1)[0]
    monkeypatch.setattr("shared.contracts.examples.FOLDER", tmp_path)
    (tmp_path / "FeedbackReceivedV1").mkdir()
    file = tmp_path / "FeedbackReceivedV1" / "wrong.json"
    for headers, data, reason in [
        (example.headers | {"ce_type": "dev.closeloop.x.y.v1"}, example.data, "ce_type is not"),
        (example.headers, example.data | {"revision": -1}, "revision: "),
        (example.headers | {"ce_time": "2026-03-10T09:14:53"}, example.data, "ce_time: "),
    ]:
        file.write_text(json.dumps({"headers": headers, "data": data}), encoding="utf-8")
        with pytest.raises(InvalidInput, match=rf"examples/FeedbackReceivedV1/wrong\.json: {reason}"):
            examples(FeedbackReceivedV1)
