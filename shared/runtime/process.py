"""How one service runs as a process of its own (`python -m services.scoring`): the cluster's way."""

import sys

from pydantic import Field

from shared.core.errors import CloseloopError
from shared.core.settings import Settings, SettingsError
from shared.http.app import Readiness, create_app
from shared.runtime.component import Service, fronted
from shared.runtime.loop import run, settle_heap
from shared.runtime.supervisor import HttpServer, Supervisor, listen
from shared.telemetry.logging import configure_logging
from shared.telemetry.tracing import configure_tracing

VERSION = "0.1.0"


class ProcessSettings(Settings):
    """Settings of every process with an HTTP port."""

    http_host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")


def run_service(settings: ProcessSettings, service: Service) -> None:
    """Run one service until a signal; exits the process. A wrong setting or a taken port ends in one line."""
    configure_logging(settings.log_level, settings.log_format)
    configure_tracing()
    try:
        sys.exit(run(_serve(settings, service)))
    except CloseloopError as error:
        sys.exit(f"closeloop {service.name}: {error.detail}")


async def _serve(settings: ProcessSettings, service: Service) -> int:
    readiness = Readiness(service.checks)
    app = create_app(f"closeloop {service.name}", VERSION, service.routers, readiness)
    settle_heap()
    supervisor = Supervisor([service], readiness)
    supervisor.catch_signals()
    try:
        listener = listen(settings.http_host, settings.http_port)
    except OSError as error:
        address = f"{settings.http_host}:{settings.http_port}"
        raise SettingsError(f"cannot listen on {address} ({error.strerror}); set HTTP_HOST and HTTP_PORT") from None
    with listener:
        return await supervisor.run(HttpServer(fronted(app, [service]), listener))
