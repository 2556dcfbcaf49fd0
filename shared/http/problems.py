"""Errors as problem+json (RFC 9457): what is wrong, where, and what to do. No stack, SQL or host ever leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared.core.errors import CloseloopError, TooManyRequests, Unavailable
from shared.db.database import is_outage
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
# A body of 256 KiB can hold tens of thousands of faults, and a path may be a key that somebody sent.
_MOST_FAULTS = 100
_LONGEST_TEXT = 300


class FaultModel(BaseModel):
    """One fault of an input."""

    path: str
    reason: str


class Problem(BaseModel):
    """An error answer, RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[FaultModel] = Field(default_factory=list)


def problem(
    status: int, title: str, detail: str, *, faults: Sequence[Any] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem+json answer."""
    text = detail.encode(errors="replace").decode()
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": text}
    if faults:
        body["faults"] = [{"path": _fit(fault.path), "reason": _fit(fault.reason)} for fault in faults[:_MOST_FAULTS]]
        if len(faults) > _MOST_FAULTS:
            body["detail"] += f" There are {len(faults)} faults, of which the first {_MOST_FAULTS} are listed."
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def _fit(text: str) -> str:
    """A part of somebody's input, short enough to answer, and free of lone surrogates, which no answer can carry."""
    short = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
    return short.encode(errors="replace").decode()


def problem_of(error: CloseloopError) -> JSONResponse:
    """The answer for one of our own errors."""
    headers: dict[str, str] = {}
    if isinstance(error, TooManyRequests | Unavailable):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="closeloop"'
    return problem(error.status, error.title, error.detail, faults=error.faults, headers=headers)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(CloseloopError, _ours)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)


async def _gone(_: Request, __: Exception) -> Response:
    """The client left before its request was whole: nobody is there to be told, and nothing is wrong with us."""
    return Response(status_code=499)


async def _ours(_: Request, error: CloseloopError) -> JSONResponse:
    return problem_of(error)


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    faults = [
        FaultModel(path=".".join(str(part) for part in fault["loc"]), reason=fault["msg"]) for fault in error.errors()
    ]
    return problem(422, "Invalid input", "The request does not fit; see faults.", faults=faults)


async def _http(_: Request, error: HTTPException) -> JSONResponse:
    titles = {404: "Not found", 405: "Method not allowed"}
    return problem(error.status_code, titles.get(error.status_code, "Error"), str(error.detail), headers=error.headers)


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    if is_outage(error):
        log.warning("request_failed_by_outage", path=request.url.path, error=type(error).__name__)
        return problem_of(Unavailable("a service that we depend on is out of reach; try again in a moment"))
    log.error("request_failed", path=request.url.path, exc_info=error)
    return problem(500, "Internal error", "The fault is ours; it is logged.")
