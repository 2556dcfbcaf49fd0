"""From the compose file's words to this machine's: commands, environment, broker settings, health."""

import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from deploy.cluster.compose import ROOT
from deploy.cluster.process import ClusterError
from deploy.kafka.broker import BrokerError
from shared.db.embedded import EmbeddedPostgresError

REPLICAS = 3
# Three brokers and their clients share a few cores: one that gets no processor for 3 s is not dead, and to take it for
# dead moves leaders and groups about for nothing. Kafka's own are 9 s.
_PATIENCE = {"broker.heartbeat.interval.ms": "1000", "broker.session.timeout.ms": "6000"}
_CHECK_SECONDS = 2
# What says where a broker is and lies; the rest of compose's KAFKA_* is how it behaves, and holds here too.
_PLACE = ("node.id", "process.roles", "log.dirs", "heap.opts", "controller.", "listener", "advertised.")


def broker_settings(compose: Mapping[str, str], brokers: int) -> dict[str, str]:
    """KAFKA_DEFAULT_REPLICATION_FACTOR=3 → default.replication.factor=3, without what places a broker; fewer than three
    brokers keep fewer replicas."""
    named = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in compose.items()
        if name.startswith("KAFKA_")
    }
    chosen = (_PATIENCE if brokers > 1 else {}) | {
        name: value for name, value in named.items() if not name.startswith(_PLACE)
    }
    if brokers < REPLICAS:
        for name in chosen:
            if name.endswith("replication.factor"):
                chosen[name] = str(brokers)
            elif name.endswith(("min.isr", "min.insync.replicas")):
                chosen[name] = "1"
    return chosen


def local_command(command: Sequence[str]) -> list[str]:
    """The image's programs are those of this environment."""
    programs = {"python": [sys.executable], "closeloop": [sys.executable, "-m", "services.cli"]}
    return [*programs.get(command[0], [command[0]]), *command[1:]]


def clean_environment() -> dict[str, str]:
    """Ours, without the settings of closeloop that somebody may have set for something else."""
    ours = our_settings()
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def our_settings() -> frozenset[str]:
    """The name of every setting; a test holds .env.example against the code."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^#(\w+)=", text, re.MULTILINE))


@contextmanager
def one_line() -> Iterator[None]:
    """Errors of the parts become the cluster's."""
    try:
        yield
    except (BrokerError, EmbeddedPostgresError) as error:
        raise ClusterError(str(error)) from None


def answers_ok(url: str) -> bool:
    """Whether it is 200."""
    try:
        with urllib.request.urlopen(url, timeout=_CHECK_SECONDS) as response:  # noqa: S310 - ours
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def answer_of(url: str) -> str:
    """What it says, whatever the status, or why nothing."""
    try:
        with urllib.request.urlopen(url, timeout=_CHECK_SECONDS) as response:  # noqa: S310 - ours
            return str(response.read(500).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return error.read(500).decode(errors="replace")
    except (OSError, ValueError) as error:
        return str(error)
