"""What identifies a person stands under `sensitive`, and nothing of it in keys or headers."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.bus.codec import encode
from shared.contracts.attributes import CloudEventsHeaders
from shared.contracts.envelope import EventData
from shared.contracts.examples import Example, example_files
from shared.contracts.registry import EVENTS
from tests.contract.contracts.samples import KINDS, parsed

PERSONAL = frozenset(
    ("address", "body", "email", "handle", "identity", "ip", "message", "name", "note", "phone", "recipient", "text")
) | {"title", "url", "username"}
NOT_A_PERSON = {"Term.name"}  # what an addend of the priority is called
# Sentences of ours, made from rules; every other free text is somebody's words.
OUR_WORDS = {
    "Explanation.chosen_because",
    "FeedbackRoutedV1.spam_reason",
    "FollowupChangedV1.reason",
    "Removed.reason",
}
FREE_TEXT = 65_536
CANARY = "canary-7f3a"


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`Part.property` and its schema, for every part that is not itself a sensitive one."""
    for part in (schema, *schema.get("$defs", {}).values()):
        if not part["title"].startswith("Sensitive"):
            for name, node in part.get("properties", {}).items():
                yield f"{part['title']}.{name}", node


def free(node: dict[str, Any]) -> bool:
    return any(kind.get("maxLength") == FREE_TEXT for kind in (node, *node.get("anyOf", ())))


@pytest.mark.parametrize("model", [*EVENTS, CloudEventsHeaders], ids=lambda model: model.__name__)
def test_names_of_personal_fields_stand_under_sensitive_only(model: type[EventData]) -> None:
    found = [name for name, _ in properties(model.model_json_schema()) if PERSONAL & set(name.split(".")[1].split("_"))]
    assert [name for name in found if name not in NOT_A_PERSON] == []


@pytest.mark.parametrize("kind", KINDS)
def test_free_text_outside_sensitive_is_a_closed_list(kind: type[EventData]) -> None:
    assert {name for name, node in properties(kind.model_json_schema()) if free(node)} <= OUR_WORDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_outside_sensitive_has_a_limit(kind: type[EventData]) -> None:
    """A bare string lets U+0000 and megabytes in; use Label, Text or a pattern."""
    bare = [
        name
        for name, node in properties(kind.model_json_schema())
        for plain in (node, *node.get("anyOf", ()), node.get("additionalProperties", {}))
        if plain.get("type") == "string" and not {"maxLength", "enum", "const", "format", "pattern"} & plain.keys()
    ]
    assert bare == []


@pytest.mark.parametrize("kind", KINDS)
def test_sensitive_parts_stand_at_one_place(kind: type[EventData]) -> None:
    schema = kind.model_json_schema()
    parts = {f"#/$defs/{name}" for name in schema["$defs"] if name.startswith("Sensitive")}
    uses = [name for name, node in properties(schema) if node.get("$ref") in parts]
    assert uses == ([f"{kind.__name__}.sensitive"] if parts else [])


def test_nothing_sensitive_in_keys_or_headers() -> None:
    checked = 0
    for kind in EVENTS:
        if (field := kind.model_fields.get("sensitive")) is None:
            continue
        assert field.annotation is not None
        filled = {name: f"{CANARY} {name}" for name in field.annotation.model_fields}
        for example in example_files(kind):
            data = parsed(kind, Example(example.name, example.headers, example.data | {"sensitive": filled}))
            message = encode(CloudEventsHeaders.model_validate(example.headers).event(data))
            assert message.value.count(CANARY.encode()) == len(filled)
            assert CANARY.encode() not in message.key + b"".join(value for _, value in message.headers)
            checked += 1
    assert checked >= 10
