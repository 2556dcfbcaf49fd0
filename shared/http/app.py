"""The app factory: every service's HTTP side looks and fails alike."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse

from shared.core.errors import CloseloopError
from shared.http import problems
from shared.http.limits import BodyLimit
from shared.telemetry.metrics import exposition

BODY_LIMIT_BYTES = 256 * 1024
# Raises when traffic should not come here; a text that it returns is shown beside `ok`.
Check = Callable[[], Awaitable[object]]
_CHECK_SECONDS = 2.0


class Readiness:
    """What `/readyz` answers: every check passes and we are not shutting down."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self.checks = dict(checks)
        self.draining = False

    async def report(self) -> tuple[bool, dict[str, str]]:
        """(ready, check → `ok`, `ok: ` and what is worth knowing, or what is wrong)."""
        states: dict[str, str] = {"shutdown": "draining"} if self.draining else {}
        outcomes = await asyncio.gather(*(_state(check) for check in self.checks.values()))
        states |= dict(zip(self.checks, outcomes, strict=True))
        return all(state.split(":")[0] == "ok" for state in states.values()), states


async def _state(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            note = await check()
    except CloseloopError as error:
        return error.detail
    except Exception as error:  # whatever a check meets is a reason not to be ready, not a fault of /readyz
        return type(error).__name__
    return f"ok: {note}" if isinstance(note, str) else "ok"


def create_app(title: str, version: str, routers: Sequence[APIRouter], readiness: Readiness, **options: Any) -> FastAPI:
    """An app with the routers, `/healthz`, `/readyz`, `/metrics`, problem+json errors and the body limit."""
    app = FastAPI(
        title=title,
        version=version,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours say what is worth saying, for less
        redirect_slashes=False,  # senders of webhooks take a redirect for a failure
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        responses={
            "4XX": {
                "model": problems.Problem,
                "content": {problems.MEDIA_TYPE: {}},
                "description": "What is wrong and what to do.",
            }
        },
        **options,
    )
    problems.install(app)
    app.add_middleware(BodyLimit, limit_bytes=BODY_LIMIT_BYTES)
    app.include_router(_operations(readiness))
    for router in routers:
        app.include_router(router)
    return app


def _operations(readiness: Readiness) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/readyz", summary="Should traffic come here?", responses={503: {"description": "Not ready; says why."}}
    )
    async def readyz() -> JSONResponse:
        ready, checks = await readiness.report()
        return JSONResponse({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
