"""CloudEvents 1.0 over HTTP: one event as JSON (structured), one as headers and a body (binary), or several (batch).

The specification signs nothing. Its webhook part repeats a secret as `Authorization: Bearer` or `?access_token=`, and
asks first by OPTIONS whether it may deliver. Event formats other than JSON (Avro, XML, Protobuf) are refused. Much of
what sends CloudEvents says plain `application/json`: such a body is told by its `specversion`.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

from pydantic import Field

from services.ingest.decoding import clean_text, decode_json, invalid
from services.ingest.sources.base import Answer, Connector, Parsed, SourceSettings, need_list, need_object
from services.ingest.sources.generic import MappedSettings, mapped, passes
from services.ingest.sources.proof import Bearer, Credential
from services.ingest.sources.revisions import millis_of
from shared.auth.signatures import Signed
from shared.core.errors import Fault, InvalidInput

MAX_EVENTS = 500
_MOST_FAULTS = 100
_REQUIRED = ("id", "source", "type", "specversion")
_NO_HEADER = {"data", "datacontenttype"}
_JSON = re.compile(r"[^/;\s]+/([^/;\s]+\+)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile(r"[A-Za-z0-9.*:_-]{1,253}")
_TAKEN = (
    "is not a CloudEvent; send application/cloudevents+json, application/cloudevents-batch+json, or the headers ce-id, "
    "ce-source, ce-type and ce-specversion"
)
# What the identifier of a feedback may have; the specification sets no limit to source and id.
_MOST_CHARACTERS = 200


class CloudEventsSettings(MappedSettings):
    """Paths begin at the event: `data.score`, `subject`. Without `fields` its data is in our own form."""

    types: tuple[str, ...] = Field(default=(), description="Event types that are read; all, where none is named.")
    allowed_rate: int | None = Field(default=None, ge=1, description="Deliveries a minute that a sender may make.")


class CloudEvents(Connector):
    """Any system that sends CloudEvents: Knative, Azure Event Grid, a broker."""

    name: ClassVar[str] = "cloudevents"
    reads: ClassVar[tuple[str, ...]] = ("ce-",)
    settings: ClassVar[type[SourceSettings]] = CloudEventsSettings
    proof: ClassVar[Credential] = Bearer(parameter="access_token")

    def greet(self, settings: CloudEventsSettings, message: Signed, secrets: Sequence[str], key: str) -> Answer | None:
        """See Connector. The callback that a sender may offer is not called: its address is anybody's."""
        del secrets, key
        origin = message.headers.get("webhook-request-origin", "")
        if message.method != "OPTIONS" or not _ORIGIN.fullmatch(origin):
            return None
        rate = "*" if settings.allowed_rate is None else str(settings.allowed_rate)
        return Answer(headers={"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": rate})

    def parse(self, settings: CloudEventsSettings, message: Signed) -> Parsed:
        """See Connector."""
        found = _events(message)
        several = isinstance(found, list)
        events = found if isinstance(found, list) else [found]
        if len(events) > MAX_EVENTS:
            raise invalid([Fault("$", f"holds {len(events)} events; at most {MAX_EVENTS} at once")])
        parsed = Parsed()
        unread: list[Any] = []
        faults: list[Fault] = []
        for index, event in enumerate(events):
            try:
                _take(settings, parsed, event)
            except InvalidInput as refused:
                before = f"[{index}]." if several else ""
                unread.append(event)
                faults += [Fault((before + one.path).removesuffix(".$"), one.reason) for one in refused.faults]
        if faults and not parsed.items and not parsed.skipped:
            raise invalid(faults[:_MOST_FAULTS])
        parsed.items.extend(unread)  # validation refuses them, without the others
        return parsed


def _events(message: Signed) -> Any:
    """The event, or the array of a batch."""
    given = message.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind in {"application/cloudevents-batch", "application/cloudevents-batch+json"}:
        return need_list(decode_json(message.body), "$")
    if kind in {"application/cloudevents", "application/cloudevents+json"}:
        return need_object(decode_json(message.body), "$")
    if kind.startswith("application/cloudevents"):
        raise invalid([Fault("content-type", _TAKEN)])
    if all(f"ce-{name}" in message.headers for name in _REQUIRED):
        return _binary(message, given)
    if not _JSON.fullmatch(given):
        raise invalid([Fault("content-type", _TAKEN)])
    body = decode_json(message.body)
    if not any(isinstance(one, dict) and "specversion" in one for one in (body if isinstance(body, list) else [body])):
        raise invalid([Fault("$", _TAKEN)])
    return body


def _binary(message: Signed, content_type: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        name[3:]: _header(name, text)
        for name, text in message.headers.items()
        if name.startswith("ce-") and name[3:].isalnum() and name[3:] not in _NO_HEADER
    }
    event["datacontenttype"] = content_type or None
    if not content_type or _JSON.fullmatch(content_type):
        event["data"] = decode_json(message.body)
    return event


def _header(name: str, text: str) -> str:
    """The value of an attribute: out of its quotes, then percent-decoded once."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return clean_text(unquote_to_bytes(text.encode("latin-1")).decode())
    except ValueError:
        raise invalid([Fault(name, "is not percent-encoded UTF-8")]) from None


def _take(settings: CloudEventsSettings, parsed: Parsed, event: Any) -> None:
    """Add what an event says. Raises InvalidInput."""
    event = {name: value for name, value in need_object(event, "$").items() if value is not None or name == "data"}
    missing = [name for name in _REQUIRED if not isinstance(event.get(name), str) or not event[name]]
    if missing:
        raise invalid([Fault(name, "is missing: a CloudEvent has it, as text") for name in missing])
    if event["specversion"] != "1.0":
        raise invalid([Fault("specversion", "is not 1.0; send that version of CloudEvents")])
    if settings.types and event["type"] not in settings.types:
        parsed.skipped["other event type"] += 1
    elif not passes(settings.only, event):
        parsed.skipped["other event"] += 1
    else:
        parsed.items.append(_feedback(settings, event))


def _feedback(settings: CloudEventsSettings, event: dict[str, Any]) -> dict[str, Any]:
    event["data"] = _data(event)
    ours = {} if settings.fields else need_object(event["data"], "data")
    item = mapped(settings, event, ours)
    if item.get("id") is None:
        item["id"] = _identity(event["source"], event["id"])
    if "time" in event:
        item.setdefault("occurred_at", event["time"])
        item.setdefault("revision", millis_of(event["time"]) or 0)
    return item


def _data(event: dict[str, Any]) -> Any:
    kind, encoded = event.get("datacontenttype"), event.get("data_base64")
    if encoded is not None and "data" in event:
        raise invalid([Fault("data_base64", "stands beside data; send one of them")])
    if kind is None and encoded is None:
        return event.get("data")  # of no named type it is JSON; bytes of no named type are anything
    if not isinstance(kind, str) or not _JSON.fullmatch(kind):
        raise invalid([Fault("datacontenttype", "is not JSON: send data as application/json")])
    if encoded is None:
        return event.get("data")
    try:
        return decode_json(base64.b64decode(encoded, validate=True))
    except (ValueError, TypeError):
        raise invalid([Fault("data_base64", "is not base64")]) from None


def _identity(source: str, event: str) -> str:
    """Source and id name an event together. A URI has no space in it, so no two pairs look the same."""
    both = f"{source} {event}"
    return both if len(both) <= _MOST_CHARACTERS else f"event:{hashlib.sha256(both.encode()).hexdigest()}"
