"""Wall-clock helpers. Due times of durable timers are decided by the database clock alone, never by this one."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 in UTC with a `Z`, the one form that leaves our APIs.

    Raises ValueError for a naive datetime: a time without a zone is a bug at the caller.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone; use an aware datetime")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
