"""The plain page of the single node: what is running, live counts, scores, assignments, follow-ups, and API pages."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from services.node.page.assets import Asset, load_assets, published
from services.node.page.status import NodeStatus, StatusReport
from shared.auth.keys import Principal, Role
from shared.http.authentication import Authenticator


def page_routes(authenticator: Authenticator) -> APIRouter:
    """The page at `/`, its files under `/page/`, API pages, and `GET /v1/node/status`.

    `/docs` and `/redoc` replace FastAPI's, which load scripts from elsewhere: the app must be made with
    `docs_url=None, redoc_url=None`.
    """
    assets = load_assets()
    router = APIRouter()
    router.include_router(_status(authenticator.require(Role.MANAGER, Role.AGENT, Role.OPERATOR)))
    for path, asset in {
        "/": assets["index.html"],
        "/docs": assets["reference.html"],
        "/favicon.ico": assets["icon.svg"],
        "/asyncapi.json": published(),
        **{f"/page/{name}": asset for name, asset in assets.items() if not name.endswith(".html")},
    }.items():
        router.add_api_route(path, _serve(asset), methods=["GET", "HEAD"], include_in_schema=False)
    router.add_api_route("/redoc", _to_docs, include_in_schema=False)
    return router


def _status(reader: Callable[..., Any]) -> APIRouter:
    router = APIRouter(prefix="/v1/node", tags=["operations"])
    report = StatusReport()

    @router.get("/status", summary="What this node does now, in numbers")
    async def status(principal: Annotated[Principal, Depends(reader)]) -> NodeStatus:
        """Who asks, how long the process runs, and its counters: over all workspaces, since the process started."""
        return report.now(principal)

    return router


def _serve(asset: Asset) -> Callable[..., Any]:
    async def serve(request: Request) -> Response:
        return asset.response(request.headers.get("if-none-match"))

    return serve


async def _to_docs() -> RedirectResponse:
    return RedirectResponse("/docs")
