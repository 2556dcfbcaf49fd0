"""What every app answers when something is wrong, and what it says about itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message

from shared.core import errors
from shared.http import app as app_module
from shared.http import problems
from shared.http.app import BODY_LIMIT_BYTES, Readiness, create_app
from shared.telemetry import metrics

SECRET = "mina@example.org"
FAMILY = [
    (errors.InvalidInput, 422),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.TooManyRequests, 429),
    (errors.Unavailable, 503),
]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")
    score: Annotated[int, Field(ge=0, le=10)]
    tags: list[int] = []


def router() -> APIRouter:
    router = APIRouter()

    @router.post("/echo")
    async def echo(body: Input) -> Input:
        return body

    @router.post("/size")
    async def size(body: Annotated[bytes, Body(media_type="application/octet-stream")]) -> int:
        return len(body)

    @router.get("/raise/{name}")
    async def fail(name: str) -> None:
        if name == "bug":
            raise LookupError(SECRET)
        if name == "reset":
            raise ConnectionResetError(SECRET)
        raise getattr(errors, name)(f"because of {name}")

    return router


@pytest.fixture
def readiness() -> Readiness:
    return Readiness({})


@pytest.fixture
async def client(readiness: Readiness) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("test", "1", [router()], readiness)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "detail"} <= body.keys()
    return body


@pytest.mark.parametrize(("kind", "status"), FAMILY)
async def test_every_error_is_a_problem(client: httpx.AsyncClient, kind: type[Exception], status: int) -> None:
    answer = await client.get(f"/raise/{kind.__name__}")
    assert answer.status_code == status
    assert problem(answer)["detail"] == f"because of {kind.__name__}"
    assert ("retry-after" in answer.headers) is (status in (429, 503))
    assert ("www-authenticate" in answer.headers) is (status == 401)


async def test_a_fault_of_ours_says_nothing_of_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/raise/bug")
    assert (answer.status_code, problem(answer)["detail"]) == (500, "The fault is ours; it is logged.")
    assert SECRET not in answer.text
    assert "LookupError" not in answer.text


async def test_an_outage_is_not_our_fault(client: httpx.AsyncClient) -> None:
    answer = await client.get("/raise/reset")
    assert (answer.status_code, SECRET in answer.text) == (503, False)
    assert "retry-after" in answer.headers


async def test_unknown_paths_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/nowhere"))["status"] == 404
    answer = await client.delete("/echo")
    assert problem(answer)["status"] == 405
    assert answer.headers["allow"] == "POST"


async def test_faults_name_their_paths(client: httpx.AsyncClient) -> None:
    answer = await client.post("/echo", json={"score": 11, "tags": [1, "x"], "more": 1})
    body = problem(answer)
    assert answer.status_code == 422
    assert {fault["path"] for fault in body["faults"]} == {"body.score", "body.tags.1", "body.more"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"score": NaN}',
        b'{"score": 1e999}',
        b'{"score": 5, "\\ud800": 1}',
        b'{"score": 5, "\\u0000": 1}',
        b'{"score": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"score": ' + b"9" * 10_000 + b"}",
        json.dumps({"score": 5, "x" * 200_000: 1}).encode(),
        json.dumps({"score": 5, "tags": ["x"] * 20_000}).encode(),
        b'[{"score": 5}]',
        b"null",
    ],
)
async def test_no_body_makes_a_fault_of_ours(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/echo", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert problem(answer)
    assert len(answer.content) < 100_000


def test_a_problem_can_carry_whatever_was_sent() -> None:
    faults = [errors.Fault("a" * 10_000 + "\ud800", "\udfff")] * 1_000
    answer = problems.problem(422, "Invalid input", "odd \ud800.", faults=faults)
    body = json.loads(bytes(answer.body))
    assert len(body["faults"]) == 100
    assert "1000 faults" in body["detail"]
    assert len(body["faults"][0]["path"]) < 400


@pytest.mark.parametrize(("size", "status"), [(0, 422), (1, 200), (BODY_LIMIT_BYTES, 200), (BODY_LIMIT_BYTES + 1, 413)])
async def test_the_body_limit_is_where_it_says(client: httpx.AsyncClient, size: int, status: int) -> None:
    answer = await client.post("/size", content=b"x" * size, headers={"content-type": "application/octet-stream"})
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == size


@pytest.mark.parametrize(
    ("declared", "sent", "status"),
    [
        (b"10", BODY_LIMIT_BYTES + 1, 413),
        (b"-1", 1, 413),
        (b"1e3", 1, 413),
        (None, BODY_LIMIT_BYTES + 1, 413),
        (None, 9, 200),
    ],
)
async def test_a_length_that_lies_or_is_absent(
    readiness: Readiness, declared: bytes | None, sent: int, status: int
) -> None:
    """By hand, as no server or client would let it through."""
    app = create_app("test", "1", [router()], readiness)
    chunks = [b"x" * min(65_536, sent - start) for start in range(0, sent, 65_536)]
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": chunks.pop(0) if chunks else b"", "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        answers.append(message)

    headers = [(b"content-type", b"application/octet-stream")]
    headers += [] if declared is None else [(b"content-length", declared)]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/size", "raw_path": b"/size", "query_string": b"", "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    await app(scope, receive, send)
    assert answers[0]["status"] == status
    if status == 413:
        assert dict(answers[0]["headers"])[b"connection"] == b"close"


async def test_readiness_says_what_is_missing(client: httpx.AsyncClient, readiness: Readiness) -> None:
    async def away() -> None:
        raise errors.Unavailable("the database cannot be reached")

    async def broken() -> None:
        raise LookupError(SECRET)

    async def fine() -> None: ...

    readiness.checks = {"one": fine}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"one": "ok"}})
    readiness.checks |= {"database": away, "odd": broken}
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"one": "ok", "database": "the database cannot be reached", "odd": "LookupError"}
    assert (await client.get("/healthz")).status_code == 200


async def test_draining_is_not_ready(client: httpx.AsyncClient, readiness: Readiness) -> None:
    readiness.draining = True
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"shutdown": "draining"})


async def test_a_check_that_hangs_is_an_answer(
    client: httpx.AsyncClient, readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_CHECK_SECONDS", 0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    readiness.checks = {"a": hang, "b": hang}
    answer = await client.get("/readyz")
    assert answer.json()["checks"] == {"a": "TimeoutError", "b": "TimeoutError"}


async def test_metrics_are_the_closed_list(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}
    assert {name.removesuffix("_total").removesuffix("_created") for name in names} == metrics.NAMES
