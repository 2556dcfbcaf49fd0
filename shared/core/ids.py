"""Identifiers.

What comes from outside or is caused by an event gets an id that repeats with it (uuid5); the rest is uuid7.
"""

import os
import time
from uuid import UUID, uuid5

# The root of every name-based id in closeloop; changing it would make every repeat look new.
NAMESPACE = UUID("5f1c0a8e-7d0c-5f0e-9a54-3a1d6c1d7b55")
_SEPARATOR = "\x1f"


def uuid7() -> UUID:
    """A time-ordered random id (RFC 9562, version 7): good as a primary key, says nothing but its creation time."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def name_id(*parts: str) -> UUID:
    """The same parts give the same id, always (RFC 9562, version 5). Parts may hold any text but U+001F."""
    return uuid5(NAMESPACE, _SEPARATOR.join(parts))


def external_event_id(workspace: str, source: str, object_id: str, revision: int | str) -> UUID:
    """Id of an event that comes from outside: a repeated delivery is the same event."""
    return name_id("external", workspace, source, object_id, str(revision))


def caused_event_id(group: str, cause: UUID, event_type: str, n: int = 0) -> UUID:
    """Id of the n-th event of a type that `group` makes out of the event `cause`: a replay makes the same events."""
    return name_id("caused", group, str(cause), event_type, str(n))
