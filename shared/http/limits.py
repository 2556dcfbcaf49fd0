"""Limits at the door, before anything reads the body: size, counted also where chunks hide it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.core.errors import TooLarge
from shared.http.problems import problem_of

# Streams have limits of their own (shared with nobody): the import endpoint counts lines and bytes a line.
STREAMED_PATHS = frozenset({"/v1/feedback/import"})


class BodyLimit:
    """ASGI middleware: 413 for a body over `limit_bytes`, whether Content-Length says so, lies, or is absent."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self.app = app
        self.limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in STREAMED_PATHS:
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > self.limit_bytes:
            await self._refuse(scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit_bytes:
                raise _Over
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _Over:
            if not started:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = f"{self.limit_bytes // 1024} KiB"
        error = TooLarge(f"the body is over {limit}; send less at once, or use POST /v1/feedback/import for many")
        response = problem_of(error)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


class _Over(BaseException):
    """Not an Exception, so that no handler on the way takes it for one of its own."""
