"""Who may do what on Kafka: the least that each service needs, read off the services themselves."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.ingest.app import build as build_ingest
from services.ingest.config import IngestSettings
from services.notifier.app import build as build_notifier
from services.notifier.config import NotifierSettings
from services.routing.app import build as build_routing
from services.routing.config import RoutingSettings
from services.scoring.app import build as build_scoring
from services.scoring.config import ScoringSettings
from shared.contracts.topics import TOPICS
from shared.runtime.component import Service

# Whoever runs `closeloop topics` and `closeloop tail`.
OPERATOR = "operator"
_FEEDS = "feed-"


@dataclass(frozen=True, slots=True)
class Rule:
    """Allow `who` the operations on one resource. `kind`: topic, group or cluster (whose name says nothing)."""

    who: str
    kind: str
    name: str
    operations: tuple[str, ...]
    is_prefix: bool = False

    def arguments(self, principal: str) -> list[str]:
        """What kafka-acls.sh --add takes; `principal` has a place for {service}."""
        words = ["--allow-principal", principal.format(service=self.who)]
        words += [word for operation in self.operations for word in ("--operation", operation)]
        words += ["--cluster"] if self.kind == "cluster" else [f"--{self.kind}", self.name]
        return [*words, "--resource-pattern-type", "prefixed"] if self.is_prefix else words


def rules() -> list[Rule]:
    """Of every service, then of the operator. Needs a running event loop, because building a service does."""
    with tempfile.TemporaryDirectory() as folder:
        found = [rule for service in _services(Path(folder)) for rule in _of(service)]
    return found + _of_operator()


def _of(service: Service) -> list[Rule]:
    topics: dict[str, set[str]] = {topic.name: {"Describe"} for topic in TOPICS}  # asked for at every start
    for topic in TOPICS:
        if topic.owner == service.name:
            topics[topic.name] |= {"Write"}
    for names in service.reads.values():
        for name in names:
            topics[name] |= {"Read"}
    found = [Rule(service.name, "topic", name, tuple(sorted(operations))) for name, operations in topics.items()]
    groups = sorted(service.reads)
    return found + [Rule(service.name, "group", name, ("Read",), is_prefix=name.endswith("-")) for name in groups]


def _of_operator() -> list[Rule]:
    operations = ("AlterConfigs", "Create", "Describe", "DescribeConfigs", "Read")
    found = [Rule(OPERATOR, "topic", topic.name, operations) for topic in TOPICS]
    return [*found, Rule(OPERATOR, "group", _FEEDS, ("Read",), is_prefix=True)]


def _services(folder: Path) -> Sequence[Service]:
    # Built, never started: nothing of this is asked for.
    common: dict[str, Any] = {
        "_env_file": None,
        "database_url": "postgresql://nobody@127.0.0.1/none",
        "bus_url": "kafka://127.0.0.1:9092",
        "data_dir": folder,
        "kafka_security_protocol": "PLAINTEXT",
        "kafka_sasl_username": "",
        "kafka_ca_file": None,
    }
    return (
        build_ingest(IngestSettings(**common)),
        build_scoring(ScoringSettings(**common)),
        build_routing(RoutingSettings(**common)),
        build_notifier(NotifierSettings(**common)),
    )
