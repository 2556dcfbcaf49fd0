"""Requests that can be read at a glance: a POST with a body of a known length and a head without anything special.

Deliberately narrow, because two readers that disagree about where a request ends are a way in (RFC 9112, 11.2):
whatever is in doubt is not plain, and goes to the parser. A property test holds both together
(tests/unit/http/test_plain.py).
"""

import re
from typing import NamedTuple

# Larger heads are refused (protocol.py); larger bodies are the app's.
HEAD_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024
_BODY_DIGITS = 5
_NAMES = re.compile(r"[a-z0-9-]+", re.ASCII)
_SPECIAL = frozenset({"transfer-encoding", "expect", "upgrade", "trailer", "te"})
_VERSION = " HTTP/1.1"


class Plain(NamedTuple):
    """The head of a plain request: its address, its headers by lower-case name, and where its body lies in the bytes
    that it was read from."""

    url: str
    headers: dict[str, str]
    body: int
    end: int


def plain_head(data: bytes) -> Plain | None:
    """The plain request that `data` begins with; its body need not be there yet."""
    if not data.startswith(b"POST /"):
        return None
    head = data.find(b"\r\n\r\n", 0, HEAD_BYTES)
    if head < 0 or data.find(b" \r\n", 0, head + 2) >= 0:
        return None
    try:
        request, *lines = data[:head].decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    url = request[len("POST ") : -len(_VERSION)]
    if not request.endswith(_VERSION) or not url.isprintable() or " " in url:
        return None
    headers = _headers(lines)
    if headers is None or not _SPECIAL.isdisjoint(headers):
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    length = headers.get("content-length", "")
    if not length.isdigit() or len(length) > _BODY_DIGITS or int(length) > BODY_BYTES:
        return None
    body = head + 4
    return Plain(url, headers, body, body + int(length))


def _headers(lines: list[str]) -> dict[str, str] | None:
    """Headers by lower-case name, each there once, with a value that neither begins nor ends with a blank."""
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not name or not value or value[0] == " ":
            return None
        headers[name.lower()] = value
    good = len(headers) == len(lines) and _NAMES.fullmatch("".join(headers)) and "".join(lines).isprintable()
    return headers if good else None
