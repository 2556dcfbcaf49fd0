"""HTTP/1.1 under uvicorn, with what it lacks.

A head (request line and headers) that is too large or too slow ends its connection, before it costs memory; so does a
body that drips. What is plain pays nothing for it: no timer and no call a header.

An app may have a `desk` in front of it (Desk). A request that it admits costs no scope, no task and no messages: its
bytes are handed over, and an answer is written. Whatever it does not take goes to the app as if there were no desk.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 16 * 1024
# Also for the first byte of a connection; between requests uvicorn's own keep-alive timeout holds.
HEAD_SECONDS = 5.0
# A body may take its time (an import takes minutes), but from here on it must have come at least so quickly.
BODY_SECONDS = 20.0
BODY_BYTES_A_SECOND = 1024
# Larger bodies are the app's.
DESK_BYTES = 64 * 1024
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

    def admit(self, url: bytes) -> Any:
        """What the desk keeps of a request while its body comes; None: it is not for the desk."""

    def take(self, visit: Any, headers: list[tuple[bytes, bytes]], body: bytes, reply: Reply) -> bool:
        """Whether the desk takes the request that it admitted; then it calls `reply` once, later."""
        ...

    def leave(self, visit: Any) -> None:
        """A request that was admitted does not come to the desk."""


class _NoDesk:
    def admit(self, url: bytes) -> Any:
        return None

    def take(self, visit: Any, headers: list[tuple[bytes, bytes]], body: bytes, reply: Reply) -> bool:
        return False

    def leave(self, visit: Any) -> None:
        pass


_NO_DESK = _NoDesk()


class BoundedProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    _awaits_head = True
    _head_bytes = 0
    _requests = 0
    _head_began: float | None = None
    _body_began: float | None = None
    _body_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    # A request that the desk has admitted: until its body is whole, then until the desk has answered.
    _visit: Any = None
    _whole = False
    _at_desk = False
    _held = bytearray()
    _early = b""  # what came meanwhile
    _ends = False
    _idle_since: float | None = None

    def __init__(self, config: Any, *more: Any, **named: Any) -> None:
        super().__init__(config, *more, **named)
        self._desk: Desk = getattr(config.app, "desk", _NO_DESK)

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
        if self._visit is not None and not self._at_desk:
            self._leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: what the desk has is answered before the connection is closed."""
        if self._visit is None:
            super().shutdown()
        else:
            self._ends = True

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed: of a head at most HEAD_BYTES, in however many pieces it comes."""
        if self._at_desk:
            self._early += data
            self.flow.pause_reading()
            return
        if not self._awaits_head:
            self._body_bytes += len(data)
            super().data_received(data)
        else:
            room = HEAD_BYTES - self._head_bytes
            if len(data) > room and data.find(_END_OF_HEAD, 0, room + len(_END_OF_HEAD)) < 0:
                self._refuse()
                return
            began = self._requests
            super().data_received(data)
            # What stands behind a whole request in one piece is not counted: nothing tells how much of it is head.
            self._head_bytes = self._head_bytes + len(data) if began == self._requests else 0
        if self._whole:
            self._come_to_desk()

    # one request

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._whole:  # and another one behind it in the same piece: answers keep their order at the app
            self._pass_by()
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._head_began = self.loop.time()
        self._idle_since = None

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._awaits_head, self._head_began = False, None
        self._body_began, self._body_bytes = self.loop.time(), 0
        if self._is_plain():
            self._visit = self._desk.admit(self.url)
            if self._visit is not None:
                self._held = bytearray()  # pieces of two bytes would take twenty times their size
                return
        self._begin()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._visit is None:
            super().on_body(body)
            return
        self._held += body
        if len(self._held) > DESK_BYTES:
            self._pass_by()

    def on_message_complete(self) -> None:
        """The body is whole: another head may follow."""
        if self._visit is None:
            super().on_message_complete()
        else:
            self._whole = True
        self._awaits_head, self._head_bytes, self._body_began = True, 0, None
        self._requests += 1

    def _begin(self) -> None:
        """The app gets the request: uvicorn makes its scope and its task."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    # the desk

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and (not self.cycle or self.cycle.response_complete)
        )

    def _come_to_desk(self) -> None:
        self._whole = False
        self._at_desk = True
        if not self._desk.take(self._visit, self.headers, bytes(self._held), self._reply):
            self._at_desk = False
            self._play_back(whole=True)

    def _reply(self, answer: bytes | None) -> None:
        self._at_desk = False
        if self.transport.is_closing():
            self._visit = None
            return
        if answer is None:
            self._play_back(whole=True)
        else:
            self._visit = None
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

    def _pass_by(self) -> None:
        """To the app, with as much of the body as there is."""
        whole = self._whole
        self._leave()
        self._play_back(whole=whole)

    def _leave(self) -> None:
        self._desk.leave(self._visit)
        self._visit, self._whole = None, False

    def _play_back(self, *, whole: bool) -> None:
        self._visit = None
        self._begin()
        if self._ends:
            self.cycle.keep_alive = False
        super().on_body(bytes(self._held))
        self._held = bytearray()
        if whole:
            super().on_message_complete()

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
