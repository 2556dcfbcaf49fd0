"""Records of a large batch, read with numpy, whose headers stay packed until somebody asks for them.

A third of the time of aiokafka's compiled reader goes into headers that a reader of many records never looks at. For a
small batch it is quicker all the same. Format: kafka.apache.org/documentation/#recordbatch (version 2).
"""

from typing import Any, NamedTuple

import numpy as np
from aiokafka.codec import lz4_decode
from numpy.typing import NDArray

from shared.bus.headers import unpacked
from shared.bus.heading import WORKSPACE_AT, Heading, heading_of
from shared.bus.port import Headers

# numpy has some 150 µs of its own to spend on a batch.
_WORTH_IT = 128
_MAGIC, _COUNT, _RECORDS = 16, slice(57, 61), 61
_PLAIN, _LZ4 = 0, 3
_SEVEN_BITS, _MORE = 0x7F, 0x80
# Event ids and times differ from record to record (codec.encode puts them here), the rest up to the workspace does not.
_DIFFER = (2, 5)
# So many readings of headers for a batch, before each record's are read.
_KINDS = 8
_FEWEST = (WORKSPACE_AT + 2) << 1  # headers, as their number is written


class PackedRecord(NamedTuple):
    """port.Record; `batch` and `at` tell where its headers are."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    heading: Heading | None
    batch: bytes
    at: int

    @property
    def headers(self) -> Headers:
        """Unpacked anew each time. Raises ValueError or IndexError where a producer wrote nonsense behind the
        workspace; damage on the way is found by the checksum."""
        return tuple((name, value) for name, value, _ in unpacked(self.batch, self.at))


def unpack(raw: bytes, batch: Any, topic: str, partition: int) -> list[PackedRecord] | None:
    """The records of `batch`, which aiokafka has made of `raw`; None where they are to be read in aiokafka's way."""
    count = int.from_bytes(raw[_COUNT], "big")
    if count < _WORTH_IT or raw[_MAGIC] != 2 or batch.compression_type not in (_PLAIN, _LZ4):
        return None
    body = memoryview(raw)[_RECORDS:]
    try:
        text = lz4_decode(body) if batch.compression_type == _LZ4 else bytes(body)
        return _read(text, count, batch.base_offset, topic, partition)
    except (IndexError, ValueError):
        return None  # aiokafka says what is wrong with it


def _read(text: bytes, count: int, base: int, topic: str, partition: int) -> list[PackedRecord]:
    data, starts = np.frombuffer(text, np.uint8), _starts(text, count)
    _, at = _varints(data, starts + 1)  # attributes, which nobody uses; the time
    delta, key_at = _varints(data, at)
    key_size, key_at = _varints(data, key_at)
    key_end = key_at + np.maximum(key_size, 0)  # our producers write no nulls, others may: -1
    value_size, value_at = _varints(data, key_end)
    value_end = value_at + np.maximum(value_size, 0)
    if min(key_size.min(), value_size.min()) < -1 or (value_end[:-1] >= starts[1:]).any():
        raise ValueError("sizes that do not fit")
    new = tuple.__new__
    return [
        new(PackedRecord, (topic, partition, offset, text[a:b], text[c:d], heading, text, d))
        for offset, a, b, c, d, heading in zip(
            (base + delta).tolist(),
            key_at.tolist(),
            key_end.tolist(),
            value_at.tolist(),
            value_end.tolist(),
            _headings(text, value_end),
            strict=True,
        )
    ]


def _starts(text: bytes, count: int) -> NDArray[np.int64]:
    """Where each record begins, behind its length: the one thing that must be read one after the other."""
    if count > len(text):
        raise ValueError("more records than bytes")
    starts, at = [0] * count, 0
    for number in range(count):
        byte = text[at]
        at += 1
        size, shift = byte & _SEVEN_BITS, 7
        while byte >= _MORE:
            byte = text[at]
            at += 1
            size |= (byte & _SEVEN_BITS) << shift
            shift += 7
        starts[number] = at
        at += size >> 1  # no length is below zero
    if at != len(text):
        raise ValueError("lengths that do not fit")
    return np.array(starts)


def _varints(data: NDArray[np.uint8], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers at places (seven bits a byte, zigzag), and the places behind them."""
    byte, at = data[at], at + 1
    number, shift = (byte & _SEVEN_BITS).astype(np.int64), 7
    more = np.flatnonzero(byte >= _MORE)
    while len(more):
        byte = data[at[more]]
        number[more] |= (byte & _SEVEN_BITS).astype(np.int64) << shift
        at[more] += 1
        more, shift = more[byte >= _MORE], shift + 7
    return (number >> 1) ^ -(number & 1), at


def _headings(text: bytes, at: NDArray[np.int64]) -> list[Heading | None]:
    """Those of the records with headers there: one is read for all that are like it."""
    found: list[Heading | None] = [None] * len(at)
    left = np.arange(len(at))
    for _ in range(_KINDS):
        if not len(left):
            return found
        headers = unpacked(text, int(at[left[0]]))
        heading = _heading(headers)
        alike = _like(text, at[left], headers) if heading else np.arange(len(left)) == 0
        for one in left[alike].tolist():
            found[one] = heading
        left = left[~alike]
    for one in left.tolist():
        found[one] = _heading(unpacked(text, int(at[one])))
    return found


def _like(text: bytes, at: NDArray[np.int64], headers: list[tuple[str, Any, int]]) -> NDArray[np.bool_]:
    """Which have all in common with the first, whose headers these are, up to the workspace but for `_DIFFER`."""
    # Where there are few, their number takes a byte.
    number = np.frombuffer(text, np.uint8)[at]
    alike: NDArray[np.bool_] = (number >= _FEWEST) & (number < _MORE)
    if not alike[0]:
        alike[:] = np.arange(len(at)) == 0
        return alike
    first = int(at[0])
    begin = first + 1
    for last in (*_DIFFER, WORKSPACE_AT):
        _, value, end = headers[last]
        stop = end - len(value or b"") if last in _DIFFER else end
        alike &= _has(text, at + (begin - first), text[begin:stop])
        begin = end
    return alike


def _has(text: bytes, at: NDArray[np.int64], piece: bytes) -> NDArray[np.bool_]:
    """Whether `piece` stands at places."""
    size = len(piece)
    everywhere = np.ndarray((len(text) - size + 1,), f"S{size}", text, strides=(1,))
    found: NDArray[np.bool_] = everywhere[np.minimum(at, len(everywhere) - 1)] == piece
    return found


def _heading(headers: list[tuple[str, Any, int]]) -> Heading | None:
    return heading_of([(name, value) for name, value, _ in headers])
