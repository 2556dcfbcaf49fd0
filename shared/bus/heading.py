"""What a reader of many records asks of each, before it looks at the rest."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from shared.contracts.envelope import WORKSPACE_PATTERN

# Where codec.encode puts them.
TYPE_AT, WORKSPACE_AT = 3, 6
_FEWEST = 8
_WORKSPACE = re.compile(WORKSPACE_PATTERN)


class Heading(NamedTuple):
    """Type and workspace of an event."""

    type: str
    workspace: str


def heading_of(headers: Sequence[tuple[str, bytes]]) -> Heading | None:
    """None where headers are not laid out as codec.encode does it: then codec.decode is to judge."""
    return _heading(headers[TYPE_AT], headers[WORKSPACE_AT]) if len(headers) >= _FEWEST else None


@lru_cache(1024)
def _heading(kind: tuple[str, bytes | None], workspace: tuple[str, bytes | None]) -> Heading | None:
    if (kind[0], workspace[0]) != ("ce_type", "ce_workspace") or not kind[1] or not workspace[1]:
        return None
    try:
        heading = Heading(kind[1].decode(), workspace[1].decode())
    except UnicodeDecodeError:
        return None
    return heading if _WORKSPACE.fullmatch(heading.workspace) else None
