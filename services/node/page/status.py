"""What the node does now, in numbers: read from the metrics registry, so that page and Prometheus never differ."""

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field

from shared.auth.keys import Principal
from shared.contracts.envelope import AwareDatetime
from shared.core.clock import utc_now
from shared.runtime.process import VERSION
from shared.telemetry.metrics import REGISTRY

Labels = dict[str, str]
_SOURCES = "sources"


class Consumer(BaseModel):
    """One consumer group on one topic."""

    group: str
    topic: str
    processed: int
    repeated: int = Field(description="Dropped because they were processed before.")
    lag: int = Field(description="Events on the bus that are not yet processed.")
    stopped_partitions: int = Field(description="Stopped at the dead-letter limit: an operator must look.")


class NodeStatus(BaseModel):
    """Counters run since the process started, over all workspaces; `workspace` is the one of the key that asked."""

    version: str
    workspace: str
    key_name: str
    roles: list[str]
    now: AwareDatetime
    started_at: AwareDatetime
    uptime_seconds: float
    accepted: int = Field(description="Feedback answered 2xx.")
    accepted_by_connector: dict[str, int]
    refused: int = Field(description="Requests for feedback answered 4xx or 5xx.")
    published_by_topic: dict[str, int]
    consumers: list[Consumer]
    outbox: int = Field(description="Events committed and not yet on the bus.")
    dead_letters: int
    dead_letters_by_origin: dict[str, int] = Field(description="Origin: group and topic; `sources` for all sources.")
    deliveries: dict[str, int] = Field(description="Ended delivery attempts by outcome.")
    streams: int = Field(description="Open event streams.")


class StatusReport:
    """Makes NodeStatus. Made when the process starts: the uptime counts from here."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._started = time.monotonic()
        self._started_at: datetime = utc_now()

    def now(self, principal: Principal) -> NodeStatus:
        """The state of this moment."""
        uptime = time.monotonic() - self._started
        accepted = self._by("ingest_accepted_events", "connector")
        dead_letters = self._dead_letters()
        return NodeStatus(
            version=VERSION,
            workspace=principal.workspace,
            key_name=principal.name,
            roles=sorted(principal.roles),
            now=utc_now(),
            started_at=self._started_at,
            uptime_seconds=round(uptime, 3),
            accepted=sum(accepted.values()),
            accepted_by_connector=accepted,
            refused=sum(self._by("ingest_refused_requests", "connector").values()),
            published_by_topic=self._by("closeloop_published_events", "topic"),
            consumers=self._consumers(),
            outbox=sum(self._by("closeloop_outbox_events", "service").values()),
            dead_letters=sum(dead_letters.values()),
            dead_letters_by_origin=dead_letters,
            deliveries=self._by("notifier_deliveries", "outcome"),
            streams=sum(self._by("closeloop_sse_clients", "stream").values()),
        )

    def _samples(self, name: str) -> Iterator[tuple[Labels, float]]:
        """(labels, value) of a counter or gauge by its name without suffix."""
        for metric in self._registry.collect():
            if metric.name == name:
                for sample in metric.samples:
                    if sample.name in (name, f"{name}_total"):
                        yield sample.labels, sample.value

    def _by(self, name: str, *labels: str) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for found, value in self._samples(name):
            sums[" ".join(found[label] for label in labels)] += int(value)
        return dict(sorted(sums.items()))

    def _consumers(self) -> list[Consumer]:
        columns = {
            "processed": "closeloop_consumed_events",
            "repeated": "closeloop_repeated_events",
            "lag": "closeloop_consumer_lag_events",
            "stopped_partitions": "closeloop_stopped_partitions",
        }
        rows: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(columns, 0))
        for column, name in columns.items():
            for key, value in self._by(name, "group", "topic").items():
                rows[key][column] = value
        consumers = []
        for key, row in sorted(rows.items()):
            group, topic = key.split(" ", 1)
            consumers.append(Consumer.model_validate({"group": group, "topic": topic, **row}))
        return consumers

    def _dead_letters(self) -> dict[str, int]:
        """A source's key belongs to one workspace: sources count together, because every workspace may ask."""
        sums: dict[str, int] = defaultdict(int)
        for origin, count in self._by("closeloop_dead_letters_events", "origin").items():
            sums[_SOURCES if origin.startswith(f"{_SOURCES}/") else origin] += count
        return dict(sorted(sums.items()))
