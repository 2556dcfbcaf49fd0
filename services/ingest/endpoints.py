"""The hot path as bare ASGI endpoints: FastAPI's dependency machinery would cost more than all our work.

They hang as routes inside the app, in front of the documented ones of api.py at the same paths.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from services.ingest.canonical import Origin
from services.ingest.decoding import invalid
from services.ingest.errors import UnsupportedMediaType
from services.ingest.fairness import Fairness
from services.ingest.outlet import Received
from services.ingest.service import IngestService
from services.ingest.sources.base import Answer
from shared.auth.keys import Role
from shared.auth.signatures import Signed
from shared.core.errors import CloseloopError, Fault
from shared.http.authentication import Authenticator
from shared.telemetry.metrics import REFUSED
from shared.telemetry.tracing import current_traceparent, span

MAX_KEY_LENGTH = 150
# Who can sign may see what a delivery would give; nothing of it is stored or published.
TEST_HEADER = "closeloop-test"


class ItemsEndpoint:
    """POST /v1/feedback and /v1/invitations: `make` gives the event of an item, and `subject` is what it is about."""

    def __init__(
        self,
        service: IngestService,
        fairness: Fairness,
        authenticator: Authenticator,
        path: str,
        make: Callable[..., Received],
        subject: str,
    ) -> None:
        self._service = service
        self._fairness = fairness
        self._principal = authenticator.require(Role.CHANNEL, Role.OPERATOR)
        self._span = f"POST {path}"
        self._make = make
        self._subject = subject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises ClientDisconnect."""
        with counted("api"):
            principal = await self._principal(Request(scope))
            self._fairness.admit(principal.workspace)
            headers = headers_of(scope)
            body = await body_of(headers, receive)
            with span(self._span, headers.get("traceparent")):
                events = await self._service.accept(
                    body,
                    Origin(principal.workspace, "api", "api"),
                    self._make,
                    idempotency_key=_idempotency_key(headers),
                    traceparent=current_traceparent(),
                )
        items = [{"id": str(event.id), self._subject: str(getattr(event.data, self._subject))} for event in events]
        await answer(send, 202, {"items": items})


class SourceEndpoint:
    """/v1/sources/{key}: POST for deliveries; GET, HEAD and OPTIONS for the handshakes of vendors that have one."""

    def __init__(self, service: IngestService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers, key = headers_of(scope), scope["path_params"]["key"]
        with counted("source"):
            body = await raw_body(receive)
            message = Signed(body, headers, scope["method"], _url(scope, headers), _query(scope))
            if message.method != "POST":
                await answer_as(send, await self._service.greet(key, message))
                return
            source = await self._service.prove(key, message)
        if TEST_HEADER in headers:
            await answer(send, 200, self._service.rehearse(source, message))
            return
        with counted(source.origin.connector), span("POST /v1/sources", headers.get("traceparent")):
            traceparent = current_traceparent()
            delivered = await self._service.deliver(source, message, traceparent=traceparent)
        if delivered.answer is not None:
            await answer_as(send, delivered.answer)
            return
        counts = {"accepted": delivered.accepted, "parked": delivered.parked, "skipped": delivered.skipped}
        await answer(send, source.connector.success, counts)


def _url(scope: Scope, headers: Mapping[str, str]) -> str:
    """The address as the vendor wrote it: behind a proxy that ends TLS, with what the proxy says of it."""
    scheme = headers.get("x-forwarded-proto", scope["scheme"])
    host = headers.get("x-forwarded-host", headers.get("host", ""))
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def _query(scope: Scope) -> dict[str, str]:
    query = scope["query_string"]
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; of one that comes twice the first counts."""
    pairs = scope["headers"]
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(pairs)}


async def body_of(headers: Mapping[str, str], receive: Receive) -> bytes:
    """The body. Raises UnsupportedMediaType for a compressed one."""
    refuse_encoded(headers)
    return await raw_body(receive)


def refuse_encoded(headers: Mapping[str, str]) -> None:
    """Raise UnsupportedMediaType for a compressed body: what it inflates to has no limit."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("the body is compressed; send it without Content-Encoding")


async def raw_body(receive: Receive) -> bytes:
    """The bytes as they came; their size is limited in front of us. Raises ClientDisconnect."""
    chunks: list[bytes] = []
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def answer(send: Send, status: int, content: Mapping[str, Any]) -> None:
    """Send a JSON answer; none where the status has no body."""
    if status == HTTPStatus.NO_CONTENT:
        await answer_as(send, Answer(status))
        return
    body = json.dumps(content, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_as(send: Send, given: Answer) -> None:
    """Send exactly this."""
    headers = [(name.lower().encode(), value.encode()) for name, value in given.headers.items()]
    if given.body:
        headers.append((b"content-type", given.content_type.encode()))
    if given.status != HTTPStatus.NO_CONTENT:
        headers.append((b"content-length", str(len(given.body)).encode()))
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": given.body})


@contextmanager
def counted(connector: str) -> Iterator[None]:
    """Count what the block refuses."""
    try:
        yield
    except CloseloopError as error:
        REFUSED.labels(connector, str(error.status)).inc()
        raise


def _idempotency_key(headers: Mapping[str, str]) -> str | None:
    key = headers.get("idempotency-key", "").strip()
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        reason = f"must be at most {MAX_KEY_LENGTH} printable ASCII characters"
        raise invalid([Fault("Idempotency-Key", reason)])
    return key or None
