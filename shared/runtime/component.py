"""What the supervisor runs, and what a service is made of."""

import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import APIRouter
from starlette.types import ASGIApp

from shared.core.ids import uuid7
from shared.http.app import Check


class Component(Protocol):
    """Something that runs for the life of the process."""

    name: str

    async def run(self) -> None:
        """Work until `stop`. Raising ends the process: it restarts from its durable position."""

    async def stop(self) -> None:
        """Make `run` return soon; what is under way is finished or given up within the supervisor's budget."""


@dataclass
class Service:
    """One service, composed by its app.py: `start` runs first and in order; components start in order and stop in
    reverse, `feeds` before the HTTP server, whose open streams end with them; then `close` runs in reverse."""

    name: str
    start: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    routers: list[APIRouter] = field(default_factory=list)
    # What stands in front of the app, for paths where the app's machinery costs more than the work.
    fronts: list[Callable[[ASGIApp], ASGIApp]] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    feeds: list[Component] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    # Consumer group → topics, for access rules; a name that ends in "-" begins the groups that processes make up.
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    close: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


def fronted(app: ASGIApp, services: Iterable[Service]) -> ASGIApp:
    """The app behind what services put in front of it."""
    for service in services:
        for front in service.fronts:
            app = front(app)
    return app


def owner_name() -> str:
    """A name for this process in positions and leases: readable, and never the same twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid7().hex[-8:]}"
