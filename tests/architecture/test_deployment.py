"""docker-compose.yml and the Dockerfile say only what the code can do: no Docker engine is needed to find a lie."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from services.cli import app as cli
from services.ingest.config import IngestSettings
from services.notifier.config import NotifierSettings
from services.routing.config import RoutingSettings
from services.scoring.config import ScoringSettings
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
}
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "closeloop"}


def test_every_service_is_there() -> None:
    assert set(OURS) == set(SETTINGS)


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    match OURS[name]["command"]:
        case ["python", "-m", module]:
            assert importlib.util.find_spec(f"{module}.__main__"), f"{module} cannot be run"
        case ["closeloop", command]:
            assert command in get_command(cli).commands  # type: ignore[attr-defined]
        case other:
            pytest.fail(f"unknown form of command: {other}")


@pytest.mark.parametrize("name", OURS)
def test_environment_is_what_the_settings_read(name: str) -> None:
    known = {field.upper() for field in SETTINGS[name].model_fields}
    if name == "migrate":  # shares the block of the services; it just has no port to open
        known |= {"HTTP_HOST", "HTTP_PORT"}
    assert set(OURS[name]["environment"]) <= known


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_settings_of_the_file_are_valid_and_ports_agree(name: str) -> None:
    given = {key: _filled(value) for key, value in OURS[name]["environment"].items()}
    settings: Any = SETTINGS[name](_env_file=None, **{key.lower(): value for key, value in given.items()})
    container_port = OURS[name]["ports"][0].rsplit(":", 1)[1]
    assert str(settings.http_port) == container_port
    assert f":{container_port}/healthz" in OURS[name]["healthcheck"]["test"][-1]
    assert settings.http_host == "0.0.0.0"


def test_published_ports_differ() -> None:
    ports = [_filled(service["ports"][0]).split(":")[0] for service in OURS.values() if "ports" in service]
    assert len(set(ports)) == len(ports) == 4


def test_addresses_name_services_of_the_file() -> None:
    for service in OURS.values():
        environment = service["environment"]
        assert re.search(r"@(\w+):5432/", environment["DATABASE_URL"])[1] in COMPOSE["services"]  # type: ignore[index]
        assert re.fullmatch(r"kafka://(\w+):9092", environment["BUS_URL"])[1] in COMPOSE["services"]  # type: ignore[index]


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
    assert used == set(COMPOSE["volumes"])


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


def _filled(value: str) -> str:
    """Compose's ${NAME:-default} and ${NAME:?message} as they are with nothing set but what must be."""
    return re.sub(r"\$\{\w+:([-?])([^}]*)\}", lambda match: match[2] if match[1] == "-" else "given", str(value))
