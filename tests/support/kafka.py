"""A real Kafka broker for a test session: one that runs already, else Java and Maven, else a container, else a skip.

KAFKA_BOOTSTRAP=host:port names one that runs; REQUIRE_KAFKA=1 makes its absence a failure (CI sets it).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from deploy.kafka.broker import HOST, BrokerError, KafkaBroker, find_java, free_port, kafka_version, wait_until_answers
from shared.bus.port import Bus, Record, TopicPartition

_CONTAINER_READY_SECONDS = 120


def why_no_broker() -> str | None:
    """What keeps us from starting a broker of our own out of jars; None when nothing does."""
    try:
        find_java()
    except BrokerError as error:
        return str(error)
    return None if shutil.which("mvn") else "mvn was not found"


def missing(reason: str) -> NoReturn:
    """Skip, or fail where Kafka is required."""
    sentence = f"NO KAFKA, its tests do not run: {reason}; or set KAFKA_BOOTSTRAP=host:port"
    if os.environ.get("REQUIRE_KAFKA") == "1":
        pytest.fail(sentence, pytrace=False)
    else:
        pytest.skip(sentence)


@contextmanager
def own_broker() -> Iterator[KafkaBroker]:
    """A broker that a test may stop, kill and restart."""
    if reason := why_no_broker():
        missing(reason)
    broker = KafkaBroker()
    try:
        yield broker.start()
    finally:
        broker.stop()


def docker(*arguments: str, timeout: float) -> str | None:
    """The output of a docker command; None when it failed or there is no engine."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=timeout)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@contextmanager
def container_broker() -> Iterator[str]:
    """The same broker version in a container."""
    port = free_port()
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST}:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    options = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
    image = f"apache/kafka:{kafka_version()}"
    name = docker("run", "-d", "--rm", "-p", f"{HOST}:{port}:9092", *options, image, timeout=300)
    if not name:
        missing(f"the container {image} did not start")
    try:
        if not wait_until_answers(port, _CONTAINER_READY_SECONDS, alive=lambda: True):
            missing(f"the container {image} was not ready in {_CONTAINER_READY_SECONDS} s")
        yield f"{HOST}:{port}"
    finally:
        docker("rm", "-f", name, timeout=60)


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """host:port of a broker that answers."""
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        yield given
    elif not (reason := why_no_broker()):
        with own_broker() as broker:
            yield broker.bootstrap
    elif docker("version", "--format", "{{.Server.Version}}", timeout=10):
        with container_broker() as bootstrap:
            yield bootstrap
    else:
        missing(f"{reason}, and no docker engine answers")


async def values(bus: Bus, topic: str, partition: int = 0) -> list[bytes]:
    """All that a partition holds."""
    _, end = (await bus.offsets(topic))[partition]
    records: list[Record] = []
    while len(records) < end:
        records += await bus.read(TopicPartition(topic, partition), len(records), 10_000)
    return [record.value for record in records]
