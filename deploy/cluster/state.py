"""What a cluster's folder remembers between runs: secrets, Kafka's cluster id, keys. One file that only we read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from deploy.cluster.process import ClusterError
from deploy.kafka.broker import cluster_id
from shared.core.folder import InUse
from shared.core.folder import take as own

_FILE = "cluster.json"


@dataclass
class State:
    """`brokers` never changes: the voters of a Kafka cluster and the replicas of its topics rest on it."""

    brokers: int
    kafka_cluster: str = field(default_factory=cluster_id)
    secrets_key: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode())
    postgres_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    keys: dict[str, str] = field(default_factory=dict)  # workspace → text of an admin's key


def take(folder: Path) -> IO[str]:
    """Own the folder until the file is closed; the system closes it with the process. Raises ClusterError."""
    try:
        return own(folder)
    except InUse as used:
        raise ClusterError(
            f"the folder {folder} is in use by the cluster of process {used.owner}; stop that one, or take another: "
            "DATA=DIR"
        ) from None
    except OSError as error:
        raise ClusterError(
            f"the folder {folder} cannot be written ({error.strerror}); give it to this user, or another: DATA=DIR"
        ) from None


def recall(folder: Path, brokers: int) -> State:
    """The folder's state, or a new one. Raises ClusterError when it was made with another number of brokers."""
    file = folder / _FILE
    try:
        state = State(**json.loads(file.read_text()))
    except FileNotFoundError:
        state = State(brokers)
        remember(folder, state)
    except (ValueError, TypeError):
        raise ClusterError(f"{file} is damaged; restore it, or start on an empty folder: DATA=DIR") from None
    if state.brokers != brokers:
        raise ClusterError(
            f"the cluster in {folder} was made with {state.brokers} brokers, which cannot change: "
            f"BROKERS={state.brokers}, or another folder: DATA=DIR"
        )
    return state


def remember(folder: Path, state: State) -> None:
    """Write it; a crash leaves the old one or the new one."""
    fresh = folder / f"{_FILE}.new"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / _FILE)
