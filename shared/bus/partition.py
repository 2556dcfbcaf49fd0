"""Which partition a key belongs to: murmur2 as in Kafka's Java client, so that every producer agrees."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
# Fewer keys are quicker one by one.
_MANY = 12


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2, 32 bits, with the seed of org.apache.kafka.common.utils.Utils.murmur2; unsigned."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    tail = length & ~3
    for i in range(0, tail, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if rest := data[tail:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=32_768)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of `key` among `partitions`; remembered, because most keys come again (series, customers)."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """`partition_of` for each. Many keys of one length (a workspace and a UUID) are hashed side by side: a new one
    alone costs a loop in Python, 4 µs."""
    length = len(keys[0]) if keys else 0
    if len(keys) < _MANY or any(len(key) != length for key in keys):
        return [partition_of(key, partitions) for key in keys]
    zeros = bytes(-length % 4)
    words = np.frombuffer(zeros.join(keys) + zeros, dtype="<u4").reshape(len(keys), -1).T
    h: Any = np.full(len(keys), (0x9747B28C ^ length) & _MASK, dtype=np.uint32)
    m = np.uint32(_M)
    for word in words[: length // 4]:
        k = word * m
        h = (h * m) ^ ((k ^ (k >> 24)) * m)
    if length % 4:
        h = (h ^ words[-1]) * m
    h = (h ^ (h >> 13)) * m
    found: list[int] = (((h ^ (h >> 15)) & 0x7FFFFFFF) % partitions).tolist()
    return found
