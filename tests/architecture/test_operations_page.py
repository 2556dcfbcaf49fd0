"""The operations page: its links lead somewhere, its commands and settings exist."""

import re
import shlex
from typing import Any

import pytest
import yaml
from typer.main import get_command

from services.cli import app
from services.ingest.config import IngestSettings
from services.notifier.config import NotifierSettings
from services.routing.config import RoutingSettings
from services.scoring.config import ScoringSettings
from tests.architecture.operations_page import PATH, TEXT, blocks, spans

ROOT = PATH.parents[1]
COMPOSE = {
    name
    for file in ("docker-compose.yml", "deploy/monitoring.yml")
    for name in yaml.safe_load((ROOT / file).read_text())["services"]
}
LINES = [line for block in blocks("") for line in block.replace("\\\n", " ").splitlines() if line.strip()]
CLOSELOOP = sorted({text for text in [*LINES, *spans()] if re.match(r"closeloop [a-z]", text)})
DOCKER = sorted({text for text in [*LINES, *spans()] if text.startswith("docker compose ")})


def anchor(heading: str) -> str:
    """The fragment of a heading, as Git hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_lead_somewhere() -> None:
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 20
    for link in links:
        file, _, fragment = link.partition("#")
        if file:
            assert (PATH.parent / file).exists(), link
        else:
            assert fragment in headings, link


def test_every_section_is_in_the_contents() -> None:
    contents = TEXT.partition("\n## ")[0]
    procedures = TEXT.partition("\n## Procedures\n")[2].partition("\n## ")[0]
    for heading in re.findall(r"^### (.+)$", procedures, re.MULTILINE):
        assert f"(#{anchor(heading)})" in contents, heading
    for heading in re.findall(r"^## (.+)$", TEXT, re.MULTILINE):
        assert heading == "Procedures" or f"(#{anchor(heading)})" in contents, heading


@pytest.mark.parametrize("text", CLOSELOOP)
def test_a_command_of_ours_exists_with_its_options(text: str) -> None:
    command: Any = get_command(app)
    words = shlex.split(text.partition("  #")[0])[1:]
    words = [word for word in words if word != "…"]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, words[0]
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= options


@pytest.mark.parametrize("text", DOCKER)
def test_docker_is_asked_about_services_that_exist(text: str) -> None:
    words = re.sub(r"-f \S+ |-T |--rm ", "", text)
    asked = re.match(r"docker compose (?:exec|run|start|stop) (\S+)|docker compose (?:up|logs) .*?([\w-]+)$", words)
    if asked:
        assert (asked[1] or asked[2]) in COMPOSE
    else:
        assert text in {"docker compose build", "docker compose ps -a", "docker compose up"}


def test_settings_exist() -> None:
    known = {
        name.upper()
        for settings in (IngestSettings, ScoringSettings, RoutingSettings, NotifierSettings)
        for name in settings.model_fields
    }
    named = {text for text in spans() if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", text)}
    assert named
    assert named <= known


# Words of PostgreSQL and Kafka.
FOREIGN = {"archive_mode", "max_connections", "pg_basebackup", "pg_dump", "pg_replication_slots", "pg_wal"}


def test_names_of_tables_logs_and_metrics_are_in_the_code() -> None:
    files = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py"), *ROOT.glob("deploy/prometheus/*.yml")]
    code = "\n".join(file.read_text() for file in files)
    named = {re.sub(r"^.*\.|_total$", "", text) for text in spans() if re.fullmatch(r"[a-z.]+(_[a-z]+)+", text)}
    assert len(named) > 15
    assert {name for name in named - FOREIGN if not re.search(rf"\b{name}\b", code)} == set()


def test_messages_that_the_page_explains_are_in_the_code() -> None:
    code = "\n".join(file.read_text() for file in ROOT.glob("shared/**/*.py"))
    for sentence in ("is not kept any more or not yet there", "records and stands still", "partitions, not"):
        assert sentence in TEXT
        assert sentence in code
    for sentence in re.findall(r"`ok: ([^`]+)`", TEXT):
        assert sentence in (ROOT / "services/ingest/outlet.py").read_text()
