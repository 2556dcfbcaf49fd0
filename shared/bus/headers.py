"""Headers of a record as Kafka writes them: a number, then the length and bytes of each name and value.

A maker of many records packs what they share once; who reads many looks at few. Format: kafka.apache.org/documentation/
#recordheader; numbers are varints, seven bits a byte, zigzag.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

_SEVEN_BITS, _MORE = 0x7F, 0x80
_MOST_REMEMBERED = 1 << 14


class PackedHeaders(msgspec.Struct, frozen=True, gc=False):
    """Headers that are unpacked anew each time they are looked at."""

    packed: bytes

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return ((name, value) for name, value, _ in unpacked(self.packed, 0))


def pack(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """All of them, their number before them."""
    some = [header(name, value) for name, value in headers]
    return b"".join((VARINTS[len(some)], *some))


def header(name: str, value: bytes) -> bytes:
    """One of them."""
    encoded = name.encode()
    return b"".join((VARINTS[len(encoded)], encoded, VARINTS[len(value)], value))


def unpacked(text: bytes, at: int) -> list[tuple[str, Any, int]]:
    """Name, value and end of each header. Raises ValueError or IndexError for what is none."""
    number, at = _varint(text, at)
    headers = []
    for _ in range(number):
        size, at = _varint(text, at)
        if size < 0:
            raise ValueError("a name without a size")
        name, at = text[at : at + size].decode(), at + size
        size, at = _varint(text, at)
        value, at = text[at : at + size] if size >= 0 else None, at + max(size, 0)
        if at > len(text):
            raise IndexError("a size that does not fit")
        headers.append((name, value, at))
    return headers


def _varint(text: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = text[at]
        at += 1
        number |= (byte & _SEVEN_BITS) << shift
        if byte < _MORE:
            return (number >> 1) ^ -(number & 1), at
        shift += 7


class _Varints(dict[int, bytes]):
    """Numbers from 0 up as varints; the usual ones are remembered."""

    def __missing__(self, number: int) -> bytes:
        left, encoded = number << 1, bytearray()
        while left >= _MORE:
            encoded.append(left & _SEVEN_BITS | _MORE)
            left >>= 7
        encoded.append(left)
        if number < _MOST_REMEMBERED:
            self[number] = bytes(encoded)
        return bytes(encoded)


VARINTS = _Varints()
