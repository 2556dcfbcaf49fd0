"""Name-based ids (shared/core/ids.py) of names that begin alike, as text: no object for each, what they share is hashed
once, and many are written side by side."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import numpy as np

from shared.core.ids import NAMESPACE

ID_LENGTH = 36
# The two highest bits of this digit are the variant of RFC 9562.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_DIGITS = [at for at in range(ID_LENGTH) if at not in (8, 13, 18, 23)]
_MANY = 40  # fewer are quicker one by one


def begin(*parts: str) -> Any:
    """The hash of names that begin with `parts`, begun."""
    beginning = NAMESPACE.bytes + "".join(f"{part}\x1f" for part in parts).encode()
    return sha1(beginning, usedforsecurity=False)


def name_ids(*kinds: tuple[Any, Sequence[bytes]]) -> list[list[bytes]]:
    """As `name_id` makes them: those of each kind, which is a beginning and the rest of each name."""
    digests = []
    for begun, names in kinds:
        for name in names:
            hashed = begun.copy()
            hashed.update(name)
            digests.append(hashed.digest())
    ids, size = (_side_by_side if len(digests) >= _MANY else _one_by_one)(digests), len(kinds[0][1])
    return [ids[at : at + size] for at in range(0, len(ids), size)]


def _one_by_one(digests: Sequence[bytes]) -> list[bytes]:
    hexadecimal, variant = [digest.hex() for digest in digests], _VARIANT
    return [f"{d[:8]}-{d[8:12]}-5{d[13:16]}-{variant[d[16]]}{d[17:20]}-{d[20:32]}".encode() for d in hexadecimal]


def _side_by_side(digests: Sequence[bytes]) -> list[bytes]:
    ids = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)[:, :16].copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50  # version 5
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # the variant of RFC 9562
    text = np.full((len(digests), ID_LENGTH), ord("-"), np.uint8)
    text[:, _DIGITS] = np.frombuffer(ids.tobytes().hex().encode(), np.uint8).reshape(len(digests), -1)
    all_of_them = text.tobytes()
    return [all_of_them[at : at + ID_LENGTH] for at in range(0, len(all_of_them), ID_LENGTH)]
