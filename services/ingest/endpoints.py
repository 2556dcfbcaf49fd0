"""The hot path as bare ASGI endpoints: FastAPI's dependency machinery would cost more than all our work.

They hang as routes inside the app, in front of the documented ones of api.py at the same paths.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from services.ingest.canonical import Origin
from services.ingest.decoding import invalid
from services.ingest.errors import UnsupportedMediaType
from services.ingest.service import IngestService
from shared.auth.keys import Role
from shared.auth.signatures import Signed
from shared.core.errors import CloseloopError, Fault
from shared.http.authentication import Authenticator
from shared.telemetry.metrics import REFUSED
from shared.telemetry.tracing import current_traceparent, span

MAX_KEY_LENGTH = 150


class FeedbackEndpoint:
    """POST /v1/feedback."""

    def __init__(self, service: IngestService, authenticator: Authenticator) -> None:
        self._service = service
        self._principal = authenticator.require(Role.CHANNEL, Role.OPERATOR)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        with counted("api"):
            principal = await self._principal(Request(scope))
            headers = headers_of(scope)
            body = await body_of(headers, receive)
            with span("POST /v1/feedback", headers.get("traceparent")):
                events = await self._service.accept(
                    body,
                    Origin(principal.workspace, "api", "api"),
                    idempotency_key=_idempotency_key(headers),
                    traceparent=current_traceparent(),
                )
        items = [{"id": str(event.id), "feedback_id": str(event.data.feedback_id)} for event in events]
        await answer(send, 202, {"items": items})


class SourceEndpoint:
    """POST /v1/sources/{key}."""

    def __init__(self, service: IngestService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One delivery."""
        headers = headers_of(scope)
        with counted("source"):
            body = await raw_body(receive)
            message = Signed(body, headers)
            source = await self._service.prove(scope["path_params"]["key"], message)
        with counted(source.origin.connector), span("POST /v1/sources", headers.get("traceparent")):
            traceparent = current_traceparent()
            delivered = await self._service.deliver(source, message, traceparent=traceparent)
        if delivered.handshake:
            await answer(send, 200, {"ok": True})
            return
        counts = {"accepted": delivered.accepted, "parked": delivered.parked, "skipped": delivered.skipped}
        await answer(send, 202, counts)


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; of one that comes twice the first counts."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


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
    """Send a JSON answer."""
    body = json.dumps(content, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
