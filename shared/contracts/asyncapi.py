"""The AsyncAPI 3.0 document: what stands on which topic, who writes it, who reads it. Made from the models alone."""

from typing import Any

from shared.contracts.attributes import CloudEventsHeaders
from shared.contracts.envelope import EventData, Part
from shared.contracts.examples import example_files
from shared.contracts.registry import EVENTS
from shared.contracts.topics import (
    ASSIGNMENT_CHANGED,
    FEEDBACK_RECEIVED,
    FEEDBACK_ROUTED,
    INVITATION_CHANGED,
    SCORE_ALERTED,
    TOPICS,
    Topic,
)

Document = dict[str, Any]

# Consuming service → the topics it reads; a service's consumer group has its name.
READERS: dict[str, tuple[Topic, ...]] = {
    "notifier": (FEEDBACK_RECEIVED, FEEDBACK_ROUTED, ASSIGNMENT_CHANGED, SCORE_ALERTED),
    "routing": (FEEDBACK_RECEIVED,),
    "scoring": (FEEDBACK_RECEIVED, INVITATION_CHANGED, FEEDBACK_ROUTED, ASSIGNMENT_CHANGED),
}
_BINDING_VERSION = "0.5.0"
_MILLISECONDS_PER_DAY = 24 * 60 * 60 * 1000


def document(version: str) -> Document:
    """The whole document for release `version`."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:closeloop:events",
        "info": {
            "title": "closeloop events",
            "version": version,
            "description": "Events between the services of closeloop, and for whoever wants to listen: CloudEvents 1.0 "
            "in Kafka's binary mode. Delivery is at least once: drop an event whose ce_id you have seen. What "
            "identifies a person stands in `sensitive` alone. Ignore properties that you do not know; anything "
            "else that would break a reader gets a new type and topic.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in EVENTS},
            "schemas": _schemas(),
        },
    }


def _events_of(topic: Topic) -> list[type[EventData]]:
    return [kind for kind in EVENTS if kind.topic == topic]


def _channel(topic: Topic) -> Document:
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"Written by {topic.owner} alone. Events of one key ({topic.key}) keep their order.",
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in _events_of(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": topic.retention_days * _MILLISECONDS_PER_DAY,
                },
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }


def _operations() -> Document:
    written = {f"{topic.owner}.send.{topic.name}": _operation("send", topic.owner, topic) for topic in TOPICS}
    read = {
        f"{service}.receive.{topic.name}": _operation("receive", service, topic)
        for service, topics in READERS.items()
        for topic in topics
    }
    return written | read


def _operation(action: str, service: str, topic: Topic) -> Document:
    verb = "writes" if action == "send" else "reads"
    operation: Document = {
        "action": action,
        "title": f"{service} {verb} {topic.name}",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{kind.__name__}"} for kind in _events_of(topic)],
        "tags": [{"name": service}],
    }
    if action == "receive":
        group = {"type": "string", "enum": [service]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": _BINDING_VERSION}}
    return operation


def _message(kind: type[EventData]) -> Document:
    return {
        "name": kind.event_type,
        "title": kind.__name__,
        "summary": " ".join((kind.__doc__ or "").split()),
        "contentType": "application/json",
        "correlationId": {
            "description": "The feedback it began with.",
            "location": "$message.header#/ce_correlationid",
        },
        "headers": {
            "allOf": [
                {"$ref": f"#/components/schemas/{CloudEventsHeaders.__name__}"},
                {"type": "object", "properties": {"ce_type": {"const": kind.event_type}}},
            ]
        },
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"`<workspace>/<key>`; the key is: {kind.topic.key}."},
                "bindingVersion": _BINDING_VERSION,
            }
        },
        "examples": [
            {"name": example.name, "headers": example.headers, "payload": example.data}
            for example in example_files(kind)
        ],
    }


def _schemas() -> Document:
    """Every model once, parts that several events share included, so that the document stands alone."""
    schemas: Document = {}
    models: tuple[type[Part], ...] = (CloudEventsHeaders, *EVENTS)
    for model in models:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, part in (*schema.pop("$defs", {}).items(), (model.__name__, schema)):
            if schemas.setdefault(name, part) != part:
                raise ValueError(f"two different parts are named {name}; rename one")
    return schemas
