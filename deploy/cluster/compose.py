"""docker-compose.yml as the cluster runner reads it: services, their settings with variables filled in, their order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from deploy.cluster.process import ClusterError

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:?[-?])([^}]*))?\}")
KINDS = {"closeloop": "ours", "postgres": "postgres", "apache/kafka": "kafka"}


@dataclass(frozen=True)
class Service:
    """One entry of `services:`. `kind`: ours, postgres, kafka, or other (which only Docker runs)."""

    name: str
    kind: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    needs: tuple[str, ...] = ()
    is_job: bool = False
    health_path: str | None = None

    @property
    def is_replicated(self) -> bool:
        """One of ours that stays."""
        return self.kind == "ours" and not self.is_job


def services(given: Mapping[str, str], file: Path = FILE) -> dict[str, Service]:
    """Every service of the file; `given` fills its variables. Raises ClusterError."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    return {name: _service(name, entry, given) for name, entry in document["services"].items()}


def in_order(known: Mapping[str, Service]) -> list[list[Service]]:
    """Groups that can start together, each after those that it needs. Raises ClusterError for a circle."""
    groups: list[list[Service]] = []
    placed: set[str] = set()
    while len(placed) < len(known):
        group = [
            service for service in known.values() if service.name not in placed and placed.issuperset(service.needs)
        ]
        if not group:
            raise ClusterError(f"these services wait for each other: {', '.join(sorted(set(known) - placed))}")
        groups.append(group)
        placed |= {service.name for service in group}
    return groups


def filled(text: str, given: Mapping[str, str]) -> str:
    """Compose's ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message} and $$. Raises ClusterError."""

    def one(match: re.Match[str]) -> str:
        name, rule, word = match[1], match[2] or "", match[3]
        if name is None:
            return "$"
        value = given.get(name)
        if value is not None and (value or not rule.startswith(":")):
            return value
        if rule.endswith("?"):
            raise ClusterError(f"{name} is not set: {word}")
        return word if rule else ""

    return _VARIABLE.sub(one, text)


def _service(name: str, entry: Mapping[str, Any], given: Mapping[str, str]) -> Service:
    kind = KINDS.get(str(entry.get("image", "")).split(":", 1)[0], "other")
    check: Sequence[str] = entry.get("healthcheck", {}).get("test", ())
    needs = entry.get("depends_on", {})
    return Service(
        name=name,
        kind=kind,
        command=tuple(entry.get("command", ())),
        environment={key: filled(str(value), given) for key, value in entry.get("environment", {}).items()},
        needs=tuple(needs),
        is_job=kind == "ours" and entry.get("restart") == "no",
        health_path=urlsplit(check[-1]).path if kind == "ours" and check else None,
    )
