"""HTTP/1.1 under uvicorn, with what it lacks.

A head (request line and headers) that is too large or too slow ends its connection, before it costs memory; so does a
body that drips. What is plain pays nothing for it: no timer and no call a header.

An app may have a `desk` in front of it (Desk). A plain request (plain.py) that it admits costs no parser, no scope, no
task and no messages: its bytes are handed over, and an answer is written. Whatever it does not take goes to the parser
and the app as if there were no desk.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.http.plain import HEAD_BYTES, Plain, Shape, plain_head, shape_of

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

Reply = Callable[[bytes | None], None]
"""Writes a whole answer (status line, headers, body); None: the app is to answer."""


class Desk(Protocol):
    """Takes plain POSTs before the app sees them. Nothing here waits or raises."""

    def admit(self, url: str) -> Any:
        """What the desk keeps of a request while its body comes; None: it is not for the desk."""

    def take(self, visit: Any, headers: Mapping[str, str], body: bytes, reply: Reply) -> None:
        """A request that was admitted is whole. The desk calls `reply` once, later."""

    def leave(self, visit: Any) -> None:
        """A request that was admitted does not come to the desk."""


class BoundedProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    # The parser: whether it is inside a request, and inside its head.
    _parsing = False
    _awaits_head = True
    _head_bytes = 0
    _requests = 0
    _head_began: float | None = None
    _body_began: float | None = None
    _body_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    # A request that the desk has admitted: until its body is whole, then until the desk has answered.
    _visit: Any = None
    _plain: Plain | None = None  # or the one before
    _shape: Shape | None = None  # of the ones before
    _learns = 3  # times; a sender whose heads have no shape does without
    _raw: bytes | bytearray = b""
    _at_desk = False
    _early = b""  # what came meanwhile
    _ends = False
    _idle_since: float | None = None

    def __init__(self, config: Any, *more: Any, **named: Any) -> None:
        super().__init__(config, *more, **named)
        self._desk: Desk | None = getattr(config.app, "desk", None)

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: its first head is awaited."""
        super().connection_made(transport)
        self._head_began = self.loop.time()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._desk is not None and self._visit is not None and not self._at_desk:
            self._desk.leave(self._visit)
            self._visit = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: what the desk has is answered before the connection is closed."""
        if self._visit is None:
            super().shutdown()
        else:
            self._ends = True

    def data_received(self, data: bytes) -> None:
        """Bytes for the desk, or for the parser."""
        if self._at_desk:
            self._early += data
            self.flow.pause_reading()
        elif self._visit is not None:
            self._gather(data)
        elif not self._is_admitted(data):
            self._parse(data)

    # the desk

    def _is_admitted(self, data: bytes) -> bool:
        """Whether a plain request begins here, and the desk wants it. What stands behind another request is the app's
        as long as that one is: answers keep their order."""
        if self._desk is None or self._parsing or (self.cycle and not self.cycle.response_complete):
            return False
        plain = plain_head(data, self._shape)
        visit = None if plain is None else self._desk.admit(plain.url)
        if plain is None or visit is None:
            return False
        self._unset_keepalive_if_required()
        if self._plain is not None and plain.lines is not self._plain.lines and self._learns:
            self._learns -= 1
            self._shape = shape_of(self._plain, plain)
        self._visit, self._plain = visit, plain
        self._head_began = self._idle_since = None
        if len(data) == plain.end:
            self._come_to_desk(self._desk, plain, data)
        else:  # pieces of two bytes would take twenty times their size
            self._raw, self._body_began, self._body_bytes = bytearray(), self.loop.time(), 0
            self._gather(data)
        return True

    def _gather(self, data: bytes) -> None:
        self._raw += data
        self._body_bytes += len(data)
        if self._desk is None or self._plain is None or len(self._raw) < (end := self._plain.end):
            return
        self._body_began = None
        self._early = bytes(self._raw[end:])
        self._come_to_desk(self._desk, self._plain, bytes(self._raw[:end]))

    def _come_to_desk(self, desk: Desk, plain: Plain, raw: bytes) -> None:
        self._at_desk, self._raw = True, raw
        desk.take(self._visit, plain.headers, raw[plain.body :], self._reply)

    def _reply(self, answer: bytes | None) -> None:
        raw, self._raw = bytes(self._raw), b""
        self._at_desk, self._visit = False, None
        if self.transport.is_closing():
            return
        if answer is None:
            self._parse(raw)
            if self._ends:
                self.cycle.keep_alive = False
        else:
            self.transport.write(answer)
            self.server_state.total_requests += 1
            self._idle_since = self.loop.time()
            if self._ends:
                self.transport.close()
                return
        if self._early:
            early, self._early = self._early, b""
            self.flow.resume_reading()
            self.data_received(early)

    # the parser

    def _parse(self, data: bytes) -> None:
        """Of a head at most HEAD_BYTES, in however many pieces it comes."""
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
        # What stands behind a whole request in one piece is not counted: nothing tells how much of it is head.
        self._head_bytes = self._head_bytes + len(data) if began == self._requests else 0

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._parsing = True
        self._head_began = self.loop.time()
        self._idle_since = None

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._awaits_head, self._head_began = False, None
        self._body_began, self._body_bytes = self.loop.time(), 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole: another head may follow."""
        super().on_message_complete()
        self._parsing = False
        self._awaits_head, self._head_bytes, self._body_began = True, 0, None
        self._requests += 1

    # time

    def _look(self) -> None:
        """A head that is under way for HEAD_SECONDS ends its connection, and so does a body that drips, and one that
        has had its answer from the desk and wants nothing more; looked at once in that time."""
        now = self.loop.time()
        waited = 0.0 if self._head_began is None else now - self._head_began
        body = 0.0 if self._body_began is None else now - self._body_began
        drips = body >= BODY_SECONDS and self._body_bytes < body * BODY_BYTES_A_SECOND and not self.flow.read_paused
        if waited >= HEAD_SECONDS or drips:
            self.transport.abort()
        elif self._idle_since is not None and now - self._idle_since >= self.timeout_keep_alive:
            self.transport.close()
        else:
            self._deadline = self.loop.call_later(HEAD_SECONDS - waited, self._look)

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE % (len(_PROBLEM), _PROBLEM))
        self.transport.close()
