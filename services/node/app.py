"""The single node: embedded database, migrations, every service, one port. The composition root of `closeloop up`."""

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any

from services.ingest.app import build as build_ingest
from services.ingest.config import IngestSettings
from services.node.config import NodeSettings
from services.node.demo.show import Demo
from services.node.first_key import ensure_first_key
from services.node.page import page_routes
from services.notifier.app import build as build_notifier
from services.notifier.config import NotifierSettings
from services.routing.app import build as build_routing
from services.routing.config import RoutingSettings
from services.scoring.app import build as build_scoring
from services.scoring.config import ScoringSettings
from shared.bus import codec
from shared.core.errors import Unavailable
from shared.core.settings import load
from shared.db.database import Database
from shared.db.embedded import EmbeddedPostgres
from shared.db.migrate import upgrade
from shared.db.platform import ApiKeys
from shared.http.app import Readiness, create_app
from shared.http.authentication import Authenticator
from shared.runtime.component import Service, fronted
from shared.runtime.loop import settle_heap
from shared.runtime.process import VERSION
from shared.runtime.supervisor import HttpServer, Supervisor, listen

# Other programs like 8080 too: so many ports are tried after the wanted one.
_PORTS_TO_TRY = 20
Say = Callable[[str], None]


class PortTaken(Unavailable):
    """No port of the range is free."""


def build_services(settings: NodeSettings, url: str, address: str, notifier: Mapping[str, Any]) -> list[Service]:
    """Every service on one database. What reads from others starts before them and stops after them."""
    common = {"database_url": url, "bus_url": settings.bus_url, "data_dir": settings.data_dir}
    sending = load(NotifierSettings, **common, **notifier)
    if not sending.public_url:
        sending = sending.model_copy(update={"public_url": address})  # the port may not be the one that was asked for
    return [
        build_notifier(sending),
        build_scoring(load(ScoringSettings, **common)),
        build_routing(load(RoutingSettings, **common)),
        build_ingest(load(IngestSettings, **common)),
    ]


async def run_node(settings: NodeSettings, say: Say, demo: Demo | None) -> int:
    """Run until a signal; the exit code. Raises CloseloopError with one line for what the operator must mend."""
    server: EmbeddedPostgres | None = None
    listener, port = _free_port(settings.http_host, settings.http_port, say)
    try:
        url = settings.database_url
        if not url:
            say(f"starting the embedded PostgreSQL in {settings.data_dir} …")
            server = EmbeddedPostgres(settings.data_dir)
            await asyncio.to_thread(server.start)
            url = await asyncio.to_thread(server.url)
        say("bringing the database up to date …")
        await asyncio.to_thread(upgrade, url)
        return await _run(settings, url, listener, f"http://{settings.http_host}:{port}", say, demo)
    finally:
        listener.close()
        if server is not None:
            say("stopping the embedded PostgreSQL …")
            await asyncio.to_thread(server.stop)


async def _run(
    settings: NodeSettings, url: str, listener: socket.socket, address: str, say: Say, demo: Demo | None
) -> int:
    platform = Database(url, "platform", encode=codec.encode, pool_size=2)
    keys = ApiKeys(platform)
    authenticator = Authenticator(keys)
    first_key = await ensure_first_key(keys, settings.workspace)
    services = build_services(settings, url, address, demo.notifier_settings(address) if demo else {})
    if demo:
        services.append(demo.service(address, url, settings.data_dir, authenticator, say))
    readiness = Readiness({name: check for service in services for name, check in service.checks.items()})
    routers = [router for service in services for router in service.routers]
    # The page brings its own /docs: FastAPI's load their scripts from elsewhere.
    app = create_app(
        "closeloop", VERSION, [*routers, page_routes(authenticator)], readiness, docs_url=None, redoc_url=None
    )
    settle_heap()
    _greet(say, address, first_key)
    try:
        # One process, no load balancer in front: nobody needs time to see that we are going.
        return await Supervisor(services, readiness).run(
            HttpServer(fronted(app, services), listener), unready_seconds=0
        )
    finally:
        await platform.stop()


def _greet(say: Say, address: str, first_key: str | None) -> None:
    say(f"closeloop is running at {address}; Ctrl-C stops it, the data stays")
    if first_key is not None:
        say(f"open   {address}/#key={first_key}")
        say(f"key    {first_key}   (an admin's; shown once, `closeloop keys create` makes more)")


def _free_port(host: str, wanted: int, say: Say) -> tuple[socket.socket, int]:
    for port in range(wanted, wanted + _PORTS_TO_TRY):
        try:
            listener = listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise PortTaken(
                    f"cannot listen on {host}:{port}: {error.strerror}; set HTTP_HOST and HTTP_PORT"
                ) from None
            continue
        chosen = listener.getsockname()[1]
        if wanted and chosen != wanted:
            say(f"port {wanted} is taken; using {chosen}")
        return listener, chosen
    raise PortTaken(f"ports {wanted} to {wanted + _PORTS_TO_TRY - 1} are taken; set HTTP_PORT to a free one")
