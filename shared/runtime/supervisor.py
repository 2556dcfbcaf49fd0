"""The supervisor: starts components and the HTTP server, ends them on a signal within one wall-clock budget."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from shared.http.app import Readiness
from shared.http.protocol import BoundedProtocol
from shared.runtime.component import Component, Service
from shared.runtime.dead_letters import describe
from shared.runtime.patience import is_outage_of_ours, through_outage
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
# SIGTERM to exit 0 (P6: ≤ 25 s). Every step shares it; none is needed for safety.
DRAIN_SECONDS = 20.0
# Time for load balancers to see /readyz fail before we stop accepting.
UNREADY_SECONDS = 2.0
# A terminal and a wrapper may both pass on one Ctrl-C; a second one that is meant comes later than this.
_SAME_SIGNAL_SECONDS = 0.5


class HttpServer:
    """uvicorn as a component, on a socket that is already bound (so that a taken port is found at start)."""

    name = "http"

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
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

    def __init__(self, services: Sequence[Service], readiness: Readiness) -> None:
        self._services = services
        self._readiness = readiness
        self._signal = asyncio.Event()
        self._signalled_at = 0.0

    def shut_down(self) -> None:
        """As SIGTERM does."""
        self._signal.set()

    def catch_signals(self) -> None:
        """From now on a signal asks for an orderly end. `run` does it too; who binds a port before calls it first, so
        that whoever sees the port can end the process in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        now = time.monotonic()
        if not self._signal.is_set():
            self._signalled_at = now
            self.shut_down()
        elif now - self._signalled_at > _SAME_SIGNAL_SECONDS:
            log.warning("ended_at_once", signal=signal.Signals(number).name)
            os._exit(128 + number)

    async def run(self, server: Component | None, *, unready_seconds: float = UNREADY_SECONDS) -> int:
        """Run to the end; the exit code. A second signal ends the process at once. Raises what a start raised that no
        waiting mends."""
        self.catch_signals()
        components: list[Component] = [part for service in self._services for part in service.components]
        components += [] if server is None else [server]
        components += [feed for service in self._services for feed in service.feeds]
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            if not await self._start():
                return 0
            tasks = {asyncio.create_task(part.run(), name=part.name): part for part in components}
            failed = await self._wait(tasks)
            self._readiness.draining = True
            deadline = time.monotonic() + DRAIN_SECONDS
            if not failed:
                await asyncio.sleep(unready_seconds)
            failed |= await self._drain(tasks, deadline)
            return 1 if failed else 0
        finally:
            await self._close(deadline)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().remove_signal_handler(number)

    async def _wait(self, tasks: dict["asyncio.Task[None]", Component]) -> bool:
        """Until a signal, or until a component ends: True, as none ends by itself."""
        ended = asyncio.create_task(self._signal.wait())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        failed = [] if self._signal.is_set() else [task for task in tasks if task.done()]
        for task in failed:
            error = _error_of(task)
            reason = "it returned" if error is None else describe(error)
            log.critical("component_ended", component=task.get_name(), error=reason, exc_info=error)
        return bool(failed)

    async def _start(self) -> bool:
        """Connect; an outage of what we depend on is waited for. False when a signal ended the wait."""
        for service in self._services:
            for start in service.start:
                try:
                    await through_outage(start, stopping=self._signal)
                except Exception as error:
                    if not (self._signal.is_set() and is_outage_of_ours(error)):
                        raise
                if self._signal.is_set():
                    return False
        return True

    async def _drain(self, tasks: dict["asyncio.Task[None]", Component], deadline: float) -> bool:
        """Stop in reverse order of start, so that what feeds others ends first; what takes too long is cancelled.
        True when one ended in an error that is not an outage."""
        failed = False
        for task, part in reversed(list(tasks.items())):
            already = task.done()
            budget = max(0.1, min(10.0, deadline - time.monotonic()))
            stopping = asyncio.create_task(_stop(part, task))
            _, pending = await asyncio.wait([stopping], timeout=budget)
            if pending:
                log.warning("component_cancelled", component=part.name)
                stopping.cancel()
                task.cancel()
            elif not already and (error := _error_of(task)) is not None:
                failed |= not is_outage_of_ours(error)
                log.warning("component_stopped_in_error", component=part.name, error=describe(error), exc_info=error)
        await asyncio.wait(tasks, timeout=1.0)  # for those that were cancelled
        return failed

    async def _close(self, deadline: float) -> None:
        for service in reversed(self._services):
            for close in reversed(service.close):
                try:
                    async with asyncio.timeout(max(0.5, deadline - time.monotonic())):
                        await close()
                except Exception as error:  # we are leaving; nothing durable depends on it
                    log.warning("close_failed", service=service.name, error=type(error).__name__)


async def _stop(part: Component, task: "asyncio.Task[None]") -> None:
    try:
        await part.stop()
    except Exception as error:  # the others are to be stopped all the same
        log.warning("stop_failed", component=part.name, error=describe(error), exc_info=error)
        task.cancel()
    await asyncio.wait([task])


def _error_of(task: "asyncio.Task[None]") -> BaseException | None:
    return None if not task.done() or task.cancelled() else task.exception()
