"""Cells as people and spreadsheets write them: numbers and moments in three scripts and two calendars."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from shared.core.clock import rfc3339

Order = Literal["ymd", "dmy", "mdy"]
_DIGITS = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩٫", "01234567890123456789.")
_NUMBER = re.compile(r"-?\d{1,9}(?:[.,]\d{1,9})?")
# An end of a scale with its words: "10 - Extremely likely", "Not at all likely - 0".
_LABELLED = re.compile(r"(\d{1,2})\s+[-–—]\s+[^\d]{3,}|[^\d]{3,}\s+[-–—]\s+(\d{1,2})")
_MOMENT = re.compile(
    r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})"
    r"(?:[T ,\u060c]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6})\d{0,3})?)?\s*(am|pm)?\s*(z|utc|[+-]\d{2}:?\d{2})?)?",
    re.IGNORECASE,
)
_UNIX = re.compile(r"[1-9]\d{8,9}(\d{3})?")
_FIRST_OF_FARVARDIN_1 = datetime(622, 3, 21, tzinfo=UTC)
_ORDERS: dict[str, tuple[int, int, int]] = {"ymd": (0, 1, 2), "dmy": (2, 1, 0), "mdy": (2, 0, 1)}


def plain_digits(text: str) -> str:
    """Persian and Arabic digits as 0–9."""
    return text if text.isascii() else text.translate(_DIGITS)


def number(text: str) -> float:
    """A number with a point or a comma, alone or with the words of its end of the scale. Raises ValueError."""
    text = plain_digits(text.strip())
    if labelled := _LABELLED.fullmatch(text):
        text = labelled[1] or labelled[2]
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    return float(text.replace(",", "."))


def orders(text: str) -> frozenset[str]:
    """In which orders of day, month and year a cell is a date; empty where it is none."""
    text = plain_digits(text.strip())
    if _UNIX.fullmatch(text):
        return frozenset(_ORDERS)
    found = set()
    for order in _ORDERS:
        try:
            moment(text, order, UTC)
        except ValueError:
            continue
        found.add(order)
    return frozenset(found)


def moment(text: str, order: str, zone: tzinfo) -> str:
    """RFC 3339 in UTC. `zone` is of times that name none; a year first is always year-month-day; years 1300–1499 are
    of the Persian calendar; bare digits are Unix seconds or milliseconds. Raises ValueError."""
    text = plain_digits(text.strip())
    if unix := _UNIX.fullmatch(text):
        return rfc3339(datetime.fromtimestamp(int(text) / (1000 if unix[1] else 1), UTC))
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("is not a date; write 2024-03-10 14:05, 10.03.2024 14:05 or Unix seconds")
    parts = (match[1], match[3], match[4])
    order = "ymd" if len(match[1]) == 4 else order
    year, month, day = (parts[place] for place in _ORDERS[order])
    if len(year) != 4:
        raise ValueError(f"is not a date in the order {order}, with a year of four digits")
    return rfc3339(_at(int(year), int(month), int(day), match, zone).astimezone(UTC))


def _at(year: int, month: int, day: int, match: re.Match[str], zone: tzinfo) -> datetime:
    hour, minute, second = (int(match[place] or 0) for place in (5, 6, 7))
    half = (match[9] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError("is not a time of day")
    hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
    micro = int((match[8] or "0").ljust(6, "0"))
    when = _persian(year, month, day) if 1300 <= year <= 1499 else datetime(year, month, day)  # noqa: DTZ001
    return when.replace(hour=hour, minute=minute, second=second, microsecond=micro, tzinfo=_zone(match[10], zone))


def _zone(text: str | None, zone: tzinfo) -> tzinfo:
    if not text:
        return zone
    if text.lower() in ("z", "utc"):
        return UTC
    return datetime.strptime(text, "%z").tzinfo or UTC


def _persian(year: int, month: int, day: int) -> datetime:
    """Midnight of a day of the Solar Hijri calendar, by its cycle of 33 years, which holds from 1178 to 1633."""
    leap = (8 * year + 29) // 33 > (8 * year + 21) // 33
    if not 1 <= month <= 12 or not 1 <= day <= (31 if month <= 6 else 30 if month <= 11 or leap else 29):
        raise ValueError("is not a day of the Persian calendar")
    days = 365 * (year - 1) + (8 * year + 21) // 33 + 31 * min(month - 1, 6) + 30 * max(month - 7, 0) + day - 1
    return (_FIRST_OF_FARVARDIN_1 + timedelta(days=days)).replace(tzinfo=None)
