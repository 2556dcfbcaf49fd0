"""Events to bytes and back: CloudEvents 1.0 in Kafka's binary mode.

The one file to change if decoding gets too slow.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from shared.bus.port import Message, Record, refuse_oversized
from shared.contracts.envelope import WORKSPACE_PATTERN, Event, EventData
from shared.contracts.registry import BY_TYPE
from shared.core.clock import rfc3339
from shared.core.errors import BadRecord, Fault
from shared.telemetry.tracing import onward_traceparent

CONTENT_TYPE = b"application/json"
_WORKSPACE = re.compile(WORKSPACE_PATTERN)


@cache
def _adapter(kind: Any) -> TypeAdapter[EventData]:
    return TypeAdapter(kind)


def encode(event: Event[Any]) -> Message:
    """The message of an event; its trace goes on with it. Raises MessageTooLarge: refused where it is made, it cannot
    hold up the outbox behind it."""
    data: EventData = event.data
    headers: list[tuple[str, bytes]] = [
        ("content-type", CONTENT_TYPE),
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event.id).encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_time", rfc3339(event.time).encode()),
        ("ce_workspace", event.workspace.encode()),
        ("ce_correlationid", str(event.correlation_id).encode()),
    ]
    if event.causation_id is not None:
        headers.append(("ce_causationid", str(event.causation_id).encode()))
    if traceparent := onward_traceparent(event.traceparent):
        headers.append(("traceparent", traceparent.encode()))
    message = Message(
        topic=data.topic.name,
        key=event.record_key(),
        value=_adapter(type(data)).dump_json(data, exclude_none=True),
        headers=tuple(headers),
    )
    refuse_oversized([message])
    return message


def decode(record: Record | Message) -> Event[Any]:
    """The event of a record. Raises BadRecord, which names what is wrong, and never the content."""
    return decode_parts(record.headers, record.value)


def decode_parts(headers: Iterable[tuple[str, bytes]], value: bytes) -> Event[Any]:
    """The event of headers and body. Raises BadRecord."""
    attributes = {name.lower(): content or b"" for name, content in headers}  # other producers may write nulls
    event_type = _text(attributes, "ce_type")
    kind = BY_TYPE.get(event_type)
    if kind is None:
        raise BadRecord(f"unknown event type {event_type[:100]!r}")
    return Event(
        id=_uuid(attributes, "ce_id"),
        source=_text(attributes, "ce_source"),
        time=_time(attributes, "ce_time"),
        workspace=_workspace(attributes, "ce_workspace"),
        correlation_id=_uuid(attributes, "ce_correlationid"),
        causation_id=_uuid(attributes, "ce_causationid") if "ce_causationid" in attributes else None,
        data=_data(kind, value),
        traceparent=_text(attributes, "traceparent") if "traceparent" in attributes else None,
    )


def _text(attributes: dict[str, bytes], name: str) -> str:
    try:
        text = attributes[name].decode()
    except KeyError:
        raise BadRecord(f"header {name} is missing") from None
    except UnicodeDecodeError:
        raise BadRecord(f"header {name} is not UTF-8") from None
    if "\x00" in text:
        raise BadRecord(f"header {name} contains U+0000")
    return text


def _uuid(attributes: dict[str, bytes], name: str) -> UUID:
    try:
        return UUID(_text(attributes, name))
    except ValueError:
        raise BadRecord(f"header {name} is not a UUID") from None


def _time(attributes: dict[str, bytes], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(attributes, name))
    except ValueError:
        raise BadRecord(f"header {name} is not a time") from None
    if moment.tzinfo is None:
        raise BadRecord(f"header {name} is a time without a zone")
    return moment


def _workspace(attributes: dict[str, bytes], name: str) -> str:
    workspace = _text(attributes, name)
    if not _WORKSPACE.fullmatch(workspace):
        raise BadRecord(f"header {name} is not the name of a workspace")
    return workspace


def _data(kind: type[EventData], value: bytes) -> EventData:
    try:
        return _adapter(kind).validate_json(value)
    except ValidationError as error:
        faults = [
            Fault(".".join(map(str, fault["loc"])) or "$", fault["msg"]) for fault in error.errors(include_input=False)
        ]
        raise BadRecord("the data does not fit its schema", faults=faults) from None
