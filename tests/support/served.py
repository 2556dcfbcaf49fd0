"""A small service in a process of its own, for tests of signals: it serves one stream, and misbehaves as it is told.

python -m tests.support.served DATABASE_URL PORT [hang | fail | stuck-stop]
"""

import asyncio
import sys

from fastapi import APIRouter, Response

from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.http.sse import event_stream
from shared.runtime.compose import Composition
from shared.runtime.process import ProcessSettings, run_service


class Odd:
    """A component that does what the name says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """`fail` raises, `hang` ignores every stop, the rest wait for it."""
        if self.name == "fail":
            raise LookupError("mina@example.org")
        await (asyncio.Event() if self.name == "hang" else self._ended).wait()

    async def stop(self) -> None:
        """`stuck-stop` never returns."""
        if self.name == "stuck-stop":
            await asyncio.Event().wait()
        self._ended.set()


def main(url: str, port: int, odd: str) -> None:
    settings = ProcessSettings(database_url=url, http_port=port, log_format="json")
    composition = Composition(settings, "platform")
    feed = composition.feed(FEEDBACK_RECEIVED)
    router = APIRouter()

    @router.get("/stream")
    async def stream() -> Response:
        return event_stream("test", feed.stream(None, lambda event: True))

    composition.route(router)
    composition.run(Odd(odd))
    service = composition.service()
    # The platform's schema has no runtime tables: only what was added here runs.
    service.components = [part for part in service.components if isinstance(part, Odd)]
    run_service(settings, service)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "well")
