"""Requests that can be read at a glance: a POST with a body of a known length and a head without anything special.

Deliberately narrow, because two readers that disagree about where a request ends are a way in (RFC 9112, 11.2):
whatever is in doubt is not plain, and goes to the parser. A property test holds both together
(tests/unit/http/test_plain.py).
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

# Larger heads are refused (protocol.py); larger bodies are the app's.
HEAD_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024
_BODY_DIGITS = 5
_NAMES = re.compile(r"[a-z0-9-]+", re.ASCII)
_SPECIAL = frozenset({"transfer-encoding", "expect", "upgrade", "trailer", "te"})
_END_OF_HEAD = b"\r\n\r\n"
_VERSION = " HTTP/1.1"
_MOST_SHAPES = 256
_MOST_VALUE = 1024
_SHAPES: dict[str, "Shape"] = {}


class Plain(msgspec.Struct, frozen=True, gc=False):
    """The head of a plain request: its lines, its address, its headers by lower-case name, and where its body lies in
    the bytes that it was read from."""

    lines: list[str]
    url: str
    headers: dict[str, str]
    body: int
    end: int


class Shape(NamedTuple):
    """What heads of one sender have in common: all but the values of a few headers."""

    match: Callable[[bytes], re.Match[bytes] | None]
    names: tuple[str, ...]
    like: Plain


def plain_head(data: bytes, shape: Shape | None = None) -> Plain | None:
    """The plain request that `data` begins with; its body need not be there yet. A known shape is read in a third of
    the time."""
    if shape is not None and (found := shape.match(data)) is not None:
        headers = shape.like.headers.copy()
        for name, value in zip(shape.names, found.groups(), strict=True):
            headers[name] = value.decode()
        return _framed(shape.like.lines, shape.like.url, headers, found.end())
    return _read(data) if data.startswith(b"POST /") else None


def _read(data: bytes) -> Plain | None:
    head = data.find(_END_OF_HEAD, 0, HEAD_BYTES)
    if head < 0 or data.find(b" \r\n", 0, head + 2) >= 0:
        return None
    try:
        lines = data[:head].decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    url, headers = lines[0][len("POST ") : -len(_VERSION)], _headers(lines[1:])
    if headers is None or not lines[0].endswith(_VERSION) or not url.isprintable() or " " in url:
        return None
    return _framed(lines, url, headers, head + len(_END_OF_HEAD))


def _headers(lines: list[str]) -> dict[str, str] | None:
    """Headers by lower-case name, each there once, none of them special, with values that no blank begins or ends."""
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not name or not value or value[0] == " ":
            return None
        headers[name.lower()] = value
    good = len(headers) == len(lines) and _NAMES.fullmatch("".join(headers)) and "".join(lines).isprintable()
    return headers if good and _SPECIAL.isdisjoint(headers) else None


def _framed(lines: list[str], url: str, headers: dict[str, str], body: int) -> Plain | None:
    length = headers.get("content-length", "")
    if body > HEAD_BYTES or not length.isdigit() or len(length) > _BODY_DIGITS or (size := int(length)) > BODY_BYTES:
        return None
    if "connection" in headers and headers["connection"].lower() != "keep-alive":
        return None
    return Plain(lines, url, headers, body, body + size)


def shape_of(one: Plain, other: Plain) -> Shape | None:
    """What two heads have in common, if they have the same address and names. The shapes that are met first are kept:
    making one costs more than a request, and strangers can ask for it."""
    if one.lines[0] != other.lines[0] or list(one.headers) != list(other.headers):
        return None
    parts, names = [re.escape(one.lines[0])], []
    for name, line, second in zip(one.headers, one.lines[1:], other.lines[1:], strict=True):
        begins = line[: len(name) + 2]
        if line == second:
            parts.append(re.escape(line))
        elif second.startswith(begins):
            parts.append(f"{re.escape(begins)}([!-~]{{1,{_MOST_VALUE}}})")
            names.append(name)
        else:
            return None
    pattern = "\r\n".join([*parts, "\r\n"])
    if pattern not in _SHAPES and len(_SHAPES) < _MOST_SHAPES:
        _SHAPES[pattern] = Shape(re.compile(pattern.encode()).match, tuple(names), one)
    return _SHAPES.get(pattern)
