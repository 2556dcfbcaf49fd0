"""docker-compose.yml and the Dockerfile say only what the code can do: no Docker engine is needed to find a lie."""

import base64
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from deploy.cluster import ClusterError
from deploy.cluster.compose import filled, in_order, services
from deploy.cluster.local import broker_settings
from deploy.kafka.broker import kafka_version
from services.cli import app as cli
from services.ingest.config import IngestSettings
from services.notifier.config import NotifierSettings
from services.routing.config import RoutingSettings
from services.scoring.config import ScoringSettings
from shared.bus.port import MESSAGE_LIMIT_BYTES
from shared.core.settings import Settings
from shared.http.app import Readiness, create_app
from shared.runtime.supervisor import DRAIN_SECONDS

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
SETTINGS: dict[str, type[Settings]] = {
    "ingest": IngestSettings,
    "scoring": ScoringSettings,
    "routing": RoutingSettings,
    "notifier": NotifierSettings,
    "migrate": Settings,
    "topics": Settings,
}
JOBS = {"migrate", "topics"}
BROKERS = {
    name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("apache/kafka")
}
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "closeloop"}


def test_every_service_is_there() -> None:
    assert set(OURS) == set(SETTINGS)


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    match OURS[name]["command"]:
        case ["python", "-m", module]:
            assert importlib.util.find_spec(f"{module}.__main__"), f"{module} cannot be run"
        case ["closeloop", *words]:
            _parse(words)
        case other:
            pytest.fail(f"unknown form of command: {other}")


@pytest.mark.parametrize("name", OURS)
def test_environment_is_what_the_settings_read(name: str) -> None:
    known = {field.upper() for field in SETTINGS[name].model_fields}
    if name in JOBS:  # they share the block of the services; they just have no port to open
        known |= {"HTTP_HOST", "HTTP_PORT"}
    assert set(OURS[name]["environment"]) <= known


@pytest.mark.parametrize("name", sorted(set(OURS) - JOBS))
def test_settings_of_the_file_are_valid_and_ports_agree(name: str) -> None:
    given = {key: _filled(value) for key, value in OURS[name]["environment"].items()}
    settings: Any = SETTINGS[name](_env_file=None, **{key.lower(): value for key, value in given.items()})
    assert f":{settings.http_port}/healthz" in OURS[name]["healthcheck"]["test"][-1]
    assert settings.http_host == "0.0.0.0"


def test_only_the_proxy_publishes_a_port() -> None:
    """A service with a port of this machine could not have a second replica."""
    publishing = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert publishing == {"caddy": ["${HTTP_PORT:-8080}:80"]}
    assert _filled(COMPOSE["services"]["caddy"]["environment"]["SITE_ADDRESS"]) == ":80"
    assert not any("container_name" in service for service in COMPOSE["services"].values())


def test_addresses_name_services_of_the_file() -> None:
    for service in OURS.values():
        environment = service["environment"]
        assert re.search(r"@(\w+):5432/", environment["DATABASE_URL"])[1] in COMPOSE["services"]  # type: ignore[index]
        assert environment["BUS_URL"] == "kafka://" + ",".join(f"{name}:9092" for name in BROKERS)


def test_three_brokers_are_one_cluster_that_loses_nothing_with_one_of_them() -> None:
    assert sorted(BROKERS) == ["kafka-1", "kafka-2", "kafka-3"]
    shared = {"KAFKA_NODE_ID", "KAFKA_ADVERTISED_LISTENERS"}
    common = [{k: v for k, v in service["environment"].items() if k not in shared} for service in BROKERS.values()]
    assert common[0] == common[1] == common[2]
    assert len(base64.urlsafe_b64decode(common[0]["CLUSTER_ID"] + "==")) == 16
    voters = [f"{broker['environment']['KAFKA_NODE_ID']}@{name}:9093" for name, broker in BROKERS.items()]
    assert common[0]["KAFKA_CONTROLLER_QUORUM_VOTERS"] == ",".join(voters)
    for name, broker in BROKERS.items():
        assert broker["environment"]["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{name}:9092"
        assert broker["volumes"] == [f"{name}:{common[0]['KAFKA_LOG_DIRS']}"]
        assert broker["image"] == f"apache/kafka:{kafka_version()}"
    settings = broker_settings(common[0], brokers=3)
    assert settings["unclean.leader.election.enable"] == settings["auto.create.topics.enable"] == "false"
    assert {value for name, value in settings.items() if name.endswith("replication.factor")} == {"3"}
    assert {value for name, value in settings.items() if name.endswith(("min.isr", "min.insync.replicas"))} == {"2"}
    # the broker is never the one to refuse
    assert int(settings["message.max.bytes"]) >= 2 * MESSAGE_LIMIT_BYTES <= int(settings["replica.fetch.max.bytes"])


def test_one_broker_asks_for_one_copy() -> None:
    alone = broker_settings(BROKERS["kafka-1"]["environment"], brokers=1)
    copies = ("replication.factor", "min.isr", "min.insync.replicas")
    assert {value for name, value in alone.items() if name.endswith(copies)} == {"1"}


def test_no_service_starts_before_its_topics_have_all_their_replicas() -> None:
    command = COMPOSE["services"]["topics"]["command"]
    assert command[command.index("--brokers") + 1] == str(len(BROKERS))
    assert set(COMPOSE["services"]["topics"]["depends_on"]) == set(BROKERS)
    for name in set(OURS) - JOBS:
        assert set(COMPOSE["services"][name]["depends_on"]) == JOBS


def test_dependencies_exist_and_can_become_true() -> None:
    for service in COMPOSE["services"].values():
        for name, rule in service.get("depends_on", {}).items():
            other = COMPOSE["services"][name]
            if rule["condition"] == "service_healthy":
                assert other["healthcheck"].get("test")
            else:
                assert (rule["condition"], other["restart"]) == ("service_completed_successfully", "no")


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", [])}
    folders = {name for name in used if name.startswith(".")}
    assert used - folders == set(COMPOSE["volumes"])
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_a_container_has_time_to_drain() -> None:
    for name, service in OURS.items():
        assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS, name


def test_the_healthcheck_asks_a_route_that_exists() -> None:
    app = create_app("test", "0", [], Readiness({}))
    assert "/healthz" in app.openapi()["paths"]
    for service in OURS.values():
        command = service["healthcheck"].get("test")
        if command:
            assert command[:3] == ["CMD", "python", "-m"]
            assert importlib.util.find_spec(command[3])


def test_the_image_is_built_from_files_that_exist_and_by_hash() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    assert DOCKERFILE.count("--require-hashes") == 2
    minimum = tuple(
        map(int, re.search(r'requires-python = ">=(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups())
    )  # type: ignore[union-attr]
    for version in re.findall(r"FROM python:(\d+)\.(\d+)", DOCKERFILE):
        assert tuple(map(int, version)) >= minimum
    assert "USER closeloop" in DOCKERFILE


def test_variables_are_filled_as_compose_does() -> None:
    given = {"A": "a", "EMPTY": ""}
    text = "${A} ${A:-x} ${EMPTY:-x} ${EMPTY-x} ${NONE:-x y} ${NONE} $${A}"
    assert filled(text, given) == "a a x  x y  ${A}"
    with pytest.raises(ClusterError, match="NONE is not set: say why"):
        filled("${NONE:?say why}", given)


def test_the_runner_starts_everything_after_what_it_needs() -> None:
    known = services({"SECRETS_KEY": "k", "SMTP_HOST": "h"})
    placed: set[str] = set()
    for group in in_order(known):
        for service in group:
            assert set(service.needs) <= placed
        placed |= {service.name for service in group}
    assert placed == set(COMPOSE["services"])


def _parse(words: list[str]) -> None:
    """Fails when the command line does not take them."""
    command: Any = get_command(cli)
    while words and words[0] in getattr(command, "commands", ()):
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context("closeloop", list(words))


def _filled(value: str) -> str:
    """Compose's ${NAME:-default} and ${NAME:?message} as they are with nothing set but what must be."""
    return re.sub(r"\$\{\w+:([-?])([^}]*)\}", lambda match: match[2] if match[1] == "-" else "given", str(value))
