"""deploy/caddy/Caddyfile: every public route of every service goes to that service, and to no other."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from services.ingest.app import build as build_ingest
from services.ingest.config import IngestSettings
from services.notifier.app import build as build_notifier
from services.notifier.config import NotifierSettings
from services.routing.app import build as build_routing
from services.routing.config import RoutingSettings
from services.scoring.app import build as build_scoring
from services.scoring.config import ScoringSettings
from shared.http.app import Readiness, create_app
from shared.runtime.component import Service

ROOT = Path(__file__).parents[2]
CADDYFILE = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
MATCHERS = {name: paths.split() for name, paths in re.findall(r"^\t@(\w+) path (.+)$", CADDYFILE, re.MULTILINE)}
PORT = re.search(r"dynamic a \{args\[0\]\} (\d+)", CADDYFILE)


def _built(name: str, folder: Path) -> Service:
    common = {"_env_file": None, "database_url": "postgresql://nobody@127.0.0.1:1/none", "data_dir": folder}
    match name:
        case "ingest":
            return build_ingest(IngestSettings(**common))  # type: ignore[arg-type]
        case "scoring":
            return build_scoring(ScoringSettings(**common))  # type: ignore[arg-type]
        case "routing":
            return build_routing(RoutingSettings(**common))  # type: ignore[arg-type]
        case _:
            return build_notifier(NotifierSettings(**common))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ingest", "scoring", "routing", "notifier"])
async def test_every_public_route_reaches_its_service(name: str, tmp_path: Path) -> None:
    document = create_app(name, "0", _built(name, tmp_path).routers, Readiness({})).openapi()
    public = [
        path
        for path, methods in document["paths"].items()
        if not any("operations" in operation.get("tags", ()) for operation in methods.values())
    ]
    assert public
    for path in public:
        assert _services_of(re.sub(r"\{\w+\}", "some-id", path)) == [name], path


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/docs", "/openapi.json", "/", "/v1", "/v1/scoresheet"])
def test_what_is_not_public_reaches_nobody(path: str) -> None:
    assert _services_of(path) == []


def test_every_matcher_leads_to_the_service_of_its_name() -> None:
    assert re.findall(r"handle @(\w+) \{\s+import replicas (\w+)\s+\}", CADDYFILE) == [(n, n) for n in MATCHERS]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert PORT
    for name in MATCHERS:
        assert compose[name]["environment"]["HTTP_PORT"] == PORT[1]
        assert name in compose["caddy"]["depends_on"]


def test_event_streams_are_neither_held_back_nor_kept_after_their_client_left() -> None:
    directives = {
        line.split()[0] for line in CADDYFILE.splitlines() if line.strip() and not line.strip().startswith("#")
    }
    assert not directives & {"encode", "flush_interval", "response_buffers"}


def _services_of(path: str) -> list[str]:
    """As Caddy matches: exact, a star at the end for any rest, a star between slashes for one part."""
    return [name for name, patterns in MATCHERS.items() if any(_matches(path, pattern) for pattern in patterns)]


def _matches(path: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
