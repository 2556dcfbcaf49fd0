"""The AsyncAPI document, checked for what the specification 3.0 asks of it (its own parser is not Python)."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from shared.contracts.asyncapi import READERS
from shared.contracts.generate import ASYNCAPI, project_version
from shared.contracts.registry import EVENTS
from shared.contracts.topics import BY_NAME, TOPICS

DOCUMENT: dict[str, Any] = json.loads(ASYNCAPI.read_text(encoding="utf-8"))
ALLOWED: dict[str, tuple[set[str], set[str]]] = {  # object → fields that it must have, fields that it may have
    "root": (
        {"asyncapi", "info", "channels", "operations", "components"},
        {"id", "defaultContentType", "servers"},
    ),
    "info": ({"title", "version", "license"}, {"description", "contact", "tags", "externalDocs", "termsOfService"}),
    "license": ({"name"}, {"url"}),
    "channel": ({"address", "messages", "bindings"}, {"title", "summary", "description", "tags", "servers"}),
    "operation": ({"action", "channel", "messages"}, {"title", "summary", "description", "tags", "bindings"}),
    "message": (
        {"name", "contentType", "headers", "payload", "examples", "bindings"},
        {"title", "summary", "description", "correlationId", "tags"},
    ),
    "example": ({"name", "headers", "payload"}, {"summary"}),
    "topic binding": ({"topic", "partitions", "bindingVersion"}, {"replicas", "topicConfiguration"}),
    "operation binding": ({"groupId", "bindingVersion"}, {"clientId"}),
    "message binding": ({"key", "bindingVersion"}, {"schemaIdLocation"}),
    "components": ({"messages", "schemas"}, set()),
}


def shaped(kind: str, value: dict[str, Any]) -> None:
    needed, optional = ALLOWED[kind]
    assert needed <= value.keys() <= needed | optional, f"{kind}: {sorted(value)}"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def looked_up(reference: str) -> Any:
    assert reference.startswith("#/"), f"{reference} leads out of the document"
    node: Any = DOCUMENT
    for step in reference[2:].split("/"):
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def test_root_and_info() -> None:
    shaped("root", DOCUMENT)
    shaped("info", DOCUMENT["info"])
    shaped("license", DOCUMENT["info"]["license"])
    shaped("components", DOCUMENT["components"])
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == project_version()
    assert DOCUMENT["info"]["license"]["name"] == "Apache-2.0"


def test_every_reference_resolves() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 20
    for reference in found:
        assert isinstance(looked_up(reference), dict)


def test_component_names_are_allowed() -> None:
    for components in DOCUMENT["components"].values():
        for name in components:
            assert re.fullmatch(r"[\w.-]+", name)


def test_every_topic_has_a_channel() -> None:
    assert DOCUMENT["channels"].keys() == BY_NAME.keys()
    for name, channel in DOCUMENT["channels"].items():
        shaped("channel", channel)
        topic, kafka = BY_NAME[name], channel["bindings"]["kafka"]
        shaped("topic binding", kafka)
        assert channel["address"] == kafka["topic"] == name
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["retention.ms"] == topic.retention_days * 86_400_000
        assert kafka["topicConfiguration"]["cleanup.policy"] == ["delete"]
        assert {looked_up(message["$ref"])["title"] for message in channel["messages"].values()} == {
            kind.__name__ for kind in EVENTS if kind.topic == topic
        }


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_has_a_message_on_its_channel(kind: Any) -> None:
    message = DOCUMENT["components"]["messages"][kind.__name__]
    shaped("message", message)
    shaped("message binding", message["bindings"]["kafka"])
    assert message["name"] == kind.event_type
    assert message["contentType"] == "application/json"
    assert message["correlationId"]["location"] == "$message.header#/ce_correlationid"
    assert kind.topic.key in message["bindings"]["kafka"]["key"]["description"]
    assert kind.__name__ in DOCUMENT["channels"][kind.topic.name]["messages"]
    assert len(DOCUMENT["components"]["messages"]) == len(EVENTS)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_example_fits_the_schemas_in_the_document(kind: Any) -> None:
    """By draft 7, which AsyncAPI's own schema dialect is made from: nothing newer may be needed."""
    registry: Registry[Any] = Registry().with_resource(
        "urn:document", Resource(contents=DOCUMENT, specification=DRAFT7)
    )
    message = DOCUMENT["components"]["messages"][kind.__name__]
    headers = Draft7Validator({"$ref": f"urn:document#/components/messages/{kind.__name__}/headers"}, registry=registry)
    payload = Draft7Validator({"$ref": f"urn:document{message['payload']['$ref']}"}, registry=registry)
    assert len(message["examples"]) >= 3
    for example in message["examples"]:
        shaped("example", example)
        assert [error.message for error in headers.iter_errors(example["headers"])] == []
        assert [error.message for error in payload.iter_errors(example["payload"])] == []
        assert not headers.is_valid(example["headers"] | {"ce_type": "dev.closeloop.other.done.v1"})
        assert not payload.is_valid({})


def test_headers_name_every_attribute() -> None:
    schema = DOCUMENT["components"]["schemas"]["CloudEventsHeaders"]
    assert {"ce_id", "ce_source", "ce_specversion", "ce_type", "ce_time", "ce_workspace", "ce_correlationid"} <= set(
        schema["required"]
    )
    assert {"ce_causationid", "traceparent", "content-type"} <= schema["properties"].keys()


def test_the_owner_sends_and_readers_receive() -> None:
    expected = {(topic.owner, "send", topic.name) for topic in TOPICS}
    expected |= {(service, "receive", topic.name) for service, topics in READERS.items() for topic in topics}
    found = set()
    for name, operation in DOCUMENT["operations"].items():
        shaped("operation", operation)
        service, action, address = name.split(".", 2)
        assert operation["action"] == action
        assert operation["channel"] == {"$ref": f"#/channels/{address}"}
        assert [message["$ref"] for message in operation["messages"]] == [
            f"#/channels/{address}/messages/{message}" for message in DOCUMENT["channels"][address]["messages"]
        ]
        if action == "receive":
            shaped("operation binding", operation["bindings"]["kafka"])
            assert operation["bindings"]["kafka"]["groupId"]["enum"] == [service]
        found.add((service, action, address))
    assert found == expected


def test_who_reads_what() -> None:
    assert {service: {topic.name for topic in topics} for service, topics in READERS.items()} == {
        "scoring": {"feedback.received.v1", "invitation.changed.v1", "feedback.routed.v1", "assignment.changed.v1"},
        "routing": {"feedback.received.v1"},
        "notifier": {"feedback.received.v1", "feedback.routed.v1", "assignment.changed.v1", "score.alerted.v1"},
    }
