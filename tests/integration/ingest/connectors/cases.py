"""What the table asks of each connector: a module of its name beside this one holds `CASES`."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from services.ingest.canonical import Origin
from services.ingest.directory import Source
from services.ingest.service import fetched_by, understood
from services.ingest.sources import CONNECTORS
from services.ingest.sources.base import Answer, Parsed, Wanted, configured
from services.ingest.sources.samples import sample, sample_answer
from shared.auth.signatures import Signed
from shared.contracts.envelope import Event
from shared.core.errors import BadRecord

PAYLOADS = Path(__file__).parents[5] / "shared" / "payloads"
WORKSPACE = "lale"


@dataclass(frozen=True)
class Sent:
    """A delivery without its signature, and the events that it must give: for each the values of some of its fields,
    by dotted path (`sensitive.text`, `ratings.0.value`)."""

    body: Any
    events: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def message(self) -> Signed:
        """As it arrives."""
        headers = {"content-type": "application/json"} | {name.lower(): text for name, text in self.headers.items()}
        return Signed(raw(self.body), headers, "POST", "https://in.example.com/v1/sources/key", dict(self.query))


@dataclass(frozen=True)
class Got:
    """An answer of the vendor's API to `wanted`, and the events that it must give, as in Sent. `following` is the
    detail with which the same must be fetched again, None where it does not matter."""

    body: Any
    events: tuple[Mapping[str, Any], ...] = ()
    wanted: Wanted = field(default_factory=lambda: Wanted("1"))
    following: Mapping[str, Any] | None = None


Given = Sent | Got


@dataclass(frozen=True)
class Vector:
    """A delivery with the signature that the vendor's algorithm gives, worked out by hand (openssl or `hmac`), never by
    our own code. `now` is a moment at which it is fresh."""

    secret: str
    body: bytes
    headers: Mapping[str, str]
    now: float = 0.0
    method: str = "POST"
    url: str = ""

    def message(self) -> Signed:
        """As it arrives."""
        return Signed(self.body, {name.lower(): text for name, text in self.headers.items()}, self.method, self.url)


@dataclass(frozen=True)
class Handshake:
    """A request by which the vendor finds out who is here, and the exact answer. `signed`: it is proven like any
    delivery."""

    answer: Answer
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = b""
    secret: str | None = None


@dataclass(frozen=True)
class Lacks:
    """Why the vendor has no such case."""

    reason: str


@dataclass(frozen=True)
class Cases:
    """All that is asked of one connector. `first` is the committed sample (samples/<name>.json) with what it gives; of
    one that fetches it is what the sample's answer to `wanted` gives, as the delivery gives nothing but `wanted`, if
    there are deliveries at all."""

    first: tuple[Mapping[str, Any], ...]
    vector: Vector | Lacks
    edit: tuple[Given, Given] | Lacks
    delete: tuple[Given, Given] | Lacks
    batch: Given | Lacks
    skips: Mapping[str, Given] | Lacks
    handshakes: tuple[Handshake, ...] | Lacks
    settings: Mapping[str, Any] = field(default_factory=dict)
    secret: str | None = None
    samples: Mapping[str, Given] = field(default_factory=dict)
    unreadable: tuple[Given, ...] = (Sent([]), Sent({}))
    wanted: Wanted | None = None
    deliveries: Mapping[str, tuple[Sent, Wanted]] = field(default_factory=dict)

    def all_sent(self, name: str) -> dict[str, Given]:
        """Everything that must give events."""
        first = Got(sample_answer(name), self.first, self.wanted) if self.wanted else self.first_sent(name)
        found: dict[str, Given] = {"first": first, **self.samples}
        if not isinstance(self.batch, Lacks):
            found["batch"] = self.batch
        for what, pair in (("edit", self.edit), ("delete", self.delete)):
            if not isinstance(pair, Lacks):
                found |= {f"{what} {number}": one for number, one in enumerate(pair)}
        return found

    def first_sent(self, name: str) -> Sent:
        """The committed sample."""
        message = sample(name)
        body: Any = message.body
        return Sent(body, self.first, message.headers, message.query)


def raw(body: Any) -> bytes:
    """The bytes on the wire."""
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


def cases_of(name: str) -> Cases:
    """The cases of a connector. Fails where it has none."""
    module = importlib.import_module(f"tests.integration.ingest.connectors.{name.replace('-', '_')}")
    found: Cases = module.CASES
    return found


def source_of(name: str, settings: Mapping[str, Any]) -> Source:
    """A source of a connector, without its secrets."""
    connector = CONNECTORS[name]
    checked = configured(connector, settings)
    return Source(Origin(WORKSPACE, "vendor", name), connector, checked, connector.credential(checked), ())


def read(name: str, cases: Cases, sent: Given) -> tuple[Parsed, list[Event[Any]], BadRecord | None]:
    """What a delivery gives once it is proven, or an answer. Raises InvalidInput."""
    source = source_of(name, cases.settings)
    if isinstance(sent, Sent):
        return understood(source, sent.message(), None)
    fetched, events, error = fetched_by(source, sent.wanted, raw(sent.body))
    assert sent.following is None or fetched.following == sent.following
    return fetched.parsed, list(events), error


def value_at(event: Event[Any], path: str) -> Any:
    """A field of an event's data by dotted path; text stays text, everything else as JSON has it."""
    value: Any = json.loads(event.data.model_dump_json())
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def with_body(sent: Given, body: Any) -> Given:
    """The same with another body; what follows an answer then is anybody's guess."""
    return replace(sent, body=body) if isinstance(sent, Sent) else replace(sent, body=body, following=None)
