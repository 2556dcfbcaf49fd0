"""In front of the app: whether there is room for a request, told before its body is read (fairness.py); and the desk,
which takes what is plain (desk.py)."""

from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest.desk import PATH, IngestDesk
from services.ingest.directory import Directory, Source
from services.ingest.fairness import Fairness
from services.ingest.outlet import BusOutlet, SpoolingOutlet
from shared.core.errors import TooManyRequests, Unavailable
from shared.http.problems import problem_of
from shared.telemetry.metrics import REFUSED, child

_TAKEN = ("/v1/feedback", "/v1/invitations", PATH)


class Door:
    """An ASGI app before another one."""

    def __init__(
        self, directory: Directory, outlet: BusOutlet | SpoolingOutlet, fairness: Fairness, behind: ASGIApp
    ) -> None:
        self.desk = IngestDesk(directory, outlet, fairness)
        self._directory = directory
        self._fairness = fairness
        self._behind = behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope.get("path", "")
        if scope.get("method") != "POST" or not path.startswith(_TAKEN):
            await self._behind(scope, receive, send)
            return
        source = self._directory.find(path[len(PATH) :]) if path.startswith(PATH) else None
        try:
            with self._fairness.room():
                if source is not None:
                    self._fairness.admit(source.origin.workspace)  # of keys the app knows the workspace
                await self._behind(scope, receive, send)
        except (TooManyRequests, Unavailable) as error:
            await _refuse(source, error, scope, receive, send)


async def _refuse(
    source: Source | None, error: TooManyRequests | Unavailable, scope: Scope, receive: Receive, send: Send
) -> None:
    """Before the body is read, so the connection cannot be used again."""
    connector = "source" if source is None else source.origin.connector
    if isinstance(error, TooManyRequests) and source is not None and source.connector.busy != error.status:
        error = Unavailable(error.detail, retry_after_seconds=error.retry_after_seconds)
    child(REFUSED, connector, str(error.status)).inc()
    response = problem_of(error)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
