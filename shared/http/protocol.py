"""HTTP/1.1 under uvicorn, with what its parser lacks: a head (request line and headers) that is too large or too slow
ends its connection, before it costs memory. What is plain pays nothing for it: no timer and no call a header."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 16 * 1024
# Also for the first byte of a connection; between requests uvicorn's own keep-alive timeout holds.
HEAD_SECONDS = 5.0
# A body may take its time (an import takes minutes), but from here on it must have come at least so quickly.
BODY_SECONDS = 20.0
BODY_BYTES_A_SECOND = 1024
_END_OF_HEAD = b"\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s"
)
_PROBLEM = b'{"type":"about:blank","title":"Too large","status":431,"detail":"the headers are over 16 KiB"}'


class BoundedProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    _awaits_head = True
    _head_bytes = 0
    _requests = 0
    _head_began: float | None = None
    _body_began: float | None = None
    _body_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: its first head is awaited."""
        super().connection_made(transport)
        self._head_began = self.loop.time()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed: of a head at most HEAD_BYTES, in however many pieces it comes."""
        if not self._awaits_head:
            self._body_bytes += len(data)
            super().data_received(data)
            return
        room = HEAD_BYTES - self._head_bytes
        if len(data) > room and data.find(_END_OF_HEAD, 0, room + len(_END_OF_HEAD)) < 0:
            self._refuse()
            return
        began = self._requests
        super().data_received(data)
        # What stands behind a whole request in one piece is not counted: there is no telling how much of it is head.
        self._head_bytes = self._head_bytes + len(data) if began == self._requests else 0

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_began = self.loop.time()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._awaits_head, self._head_began = False, None
        self._body_began, self._body_bytes = self.loop.time(), 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole: another head may follow."""
        super().on_message_complete()
        self._awaits_head, self._head_bytes, self._body_began = True, 0, None
        self._requests += 1

    def _look(self) -> None:
        """A head that is under way for HEAD_SECONDS ends its connection, and so does a body that drips; looked at once
        in that time."""
        now = self.loop.time()
        waited = 0.0 if self._head_began is None else now - self._head_began
        body = 0.0 if self._body_began is None else now - self._body_began
        drips = body >= BODY_SECONDS and self._body_bytes < body * BODY_BYTES_A_SECOND and not self.flow.read_paused
        if waited >= HEAD_SECONDS or drips:
            self.transport.abort()
        else:
            self._deadline = self.loop.call_later(HEAD_SECONDS - waited, self._look)

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE % (len(_PROBLEM), _PROBLEM))
        self.transport.close()
