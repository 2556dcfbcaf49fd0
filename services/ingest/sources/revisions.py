"""Revisions of sources that count versions, or that only say when something changed."""

from datetime import datetime
from typing import Any

from shared.core.clock import utc_now

_SECONDS = 2**32


def later(version: int, *moved: Any) -> int:
    """A revision that grows with the version and, within one version, with the time of a removal or a return.

    Pass a second argument for those: the RFC 3339 time that the body gives, or None for now.
    """
    if not moved:
        return version * _SECONDS
    moment = moment_of(moved[0]) or utc_now()
    return version * _SECONDS + int(moment.timestamp()) % _SECONDS


def moment_of(value: Any) -> datetime | None:
    """A time from RFC 3339 text with a zone, else None."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def revision_of(value: Any) -> Any:
    """A revision out of a body: a whole number as it is, a time as milliseconds, anything else for validation."""
    if isinstance(value, str):
        moment = moment_of(value)
        if moment is not None:
            return int(moment.timestamp() * 1000)
    if isinstance(value, float) and value > 0:
        return int(value * 1000)
    return value


def micros_of(value: Any) -> int | None:
    """Microseconds of a time in seconds with a fraction, written as text: `1482960137.003543`. Never a float: two
    edits within a microsecond of each other must not become one."""
    if not isinstance(value, str) or not value.isascii():
        return None
    whole, _, part = value.partition(".")
    if not whole.isdigit() or len(whole) > 11 or (part and not part.isdigit()):
        return None
    return int(whole) * 1_000_000 + int(part[:6].ljust(6, "0") or "0")


def millis_of(value: Any) -> int | None:
    """Milliseconds since 1970 of RFC 3339 text or of Unix seconds, for things that say when they changed."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
        return int(value * 1000)
    moment = moment_of(value)
    return None if moment is None or moment.year < 1970 else int(moment.timestamp() * 1000)
