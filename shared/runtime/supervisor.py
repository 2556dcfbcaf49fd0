"""The supervisor: starts components and the HTTP server, ends them on a signal within one wall-clock budget."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from shared.http.app import Readiness
from shared.runtime.component import Component, Service
from shared.runtime.patience import through_outage
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
# SIGTERM to exit 0 (P6: ≤ 25 s). Every step shares it; none is needed for safety.
DRAIN_SECONDS = 20.0
# Time for load balancers to see /readyz fail before we stop accepting.
UNREADY_SECONDS = 2.0


class HttpServer:
    """uvicorn as a component, on a socket that is already bound (so that a taken port is found at start)."""

    name = "http"

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=16 * 1024,
                ws="none",
                lifespan="off",
            )
        )

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._listener])

    async def stop(self) -> None:
        """Stop accepting, finish requests in flight."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the supervisor's


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening socket. Raises OSError when the port is taken."""
    listener = socket.create_server((host, port), backlog=2048, reuse_port=False)
    listener.setblocking(False)
    return listener


class Supervisor:
    """Runs services and a server until a signal, or until a component fails (then exit code 1: a restart mends it)."""

    def __init__(self, services: Sequence[Service], server: Component | None, readiness: Readiness) -> None:
        self._services = services
        self._components: list[Component] = [part for service in services for part in service.components]
        if server is not None:
            self._components.append(server)
        self._readiness = readiness
        self._signal = asyncio.Event()

    def shut_down(self) -> None:
        """As SIGTERM does."""
        self._signal.set()

    async def run(self, *, unready_seconds: float = UNREADY_SECONDS) -> int:
        """Run to the end; the exit code. A second signal ends it at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.shut_down)
        await self._start()
        tasks = {asyncio.create_task(part.run(), name=part.name): part for part in self._components}
        ended = asyncio.create_task(self._signal.wait())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in tasks if task.done() and not self._signal.is_set()]
        for task in failed:
            error = task.exception() if not task.cancelled() else None
            log.critical("component_ended", component=task.get_name(), exc_info=error, error=str(error))
        ended.cancel()
        self._readiness.draining = True
        deadline = time.monotonic() + DRAIN_SECONDS
        if not failed:
            await asyncio.sleep(unready_seconds)
        await self._drain(tasks, deadline)
        await self._close(deadline)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        return 1 if failed else 0

    async def _start(self) -> None:
        """Connect; an outage of what we depend on is waited for, a signal ends the wait."""
        for service in self._services:
            for start in service.start:
                await through_outage(start, stopping=self._signal)

    async def _drain(self, tasks: dict["asyncio.Task[None]", Component], deadline: float) -> None:
        """Stop in reverse order of start, so that what feeds others ends first; what takes too long is cancelled."""
        for task, part in reversed(list(tasks.items())):
            await part.stop()
            budget = max(0.1, min(10.0, deadline - time.monotonic()))
            _, pending = await asyncio.wait([task], timeout=budget)
            if pending:
                log.warning("component_cancelled", component=part.name)
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, deadline: float) -> None:
        for service in reversed(self._services):
            for close in reversed(service.close):
                try:
                    async with asyncio.timeout(max(0.5, deadline - time.monotonic())):
                        await close()
                except Exception as error:  # we are leaving; nothing durable depends on it
                    log.warning("close_failed", service=service.name, error=type(error).__name__)
