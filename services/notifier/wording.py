"""What people read: names made harmless, dates and words in three languages."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.core.errors import InvalidInput

# Bidi marks, embeddings, overrides and isolates, and what has no width: none belongs in a name or a subject.
_INVISIBLE = re.compile("[\u061c\u200b\u200d-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u00ad\u180e]")
# Persian spelling needs this joiner between two of its letters; anywhere else it only hides something.
_STRAY_JOINER = re.compile(r"(?<![\u0620-\u06ff])\u200c|\u200c(?![\u0620-\u06ff])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# A "name" that is an address or a link would make our mail carry somebody else's message.
_LINK_LIKE = re.compile(r"[/\\@:<>{}\[\]]|\w\.\w{2,}|\bwww\b", re.IGNORECASE)
_NAME_LIMIT = 60
_PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_WORDS = (
    *("direction", "greeting", "greeting_named", "promise_at", "promise_soon", "somebody", "nobody", "unknown", "why"),
    *("unsubscribe", "unsubscribe_question", "unsubscribed", "time", "none"),
    *("promoter", "passive", "detractor", "urgent", "high", "normal", "low", "drop", "rise", "target_lost", "silence"),
)


@dataclass(frozen=True, slots=True)
class Words:
    """The shared words of one language."""

    direction: str
    why: str
    unsubscribe: str
    table: Mapping[str, str]
    months: tuple[str, ...]

    def get(self, name: str) -> str:
        """A word, or the name itself where the language has none for it."""
        return self.table.get(name, name)

    def moment(self, at: datetime, zone: ZoneInfo) -> str:
        """A date and time as people write it, with its zone where that is not obvious."""
        local = at.astimezone(zone)
        text = self.table["time"].format(
            day=local.day, month=self.months[local.month - 1], year=local.year, clock=f"{local:%H:%M}"
        )
        text = text.translate(_PERSIAN_DIGITS) if self.direction == "rtl" else text
        return f"{text} ({local.tzname()})"


def words_from(content: Mapping[str, Any], name: str) -> Words:
    """The words of a words.yaml. Raises InvalidInput with what is missing."""
    missing = [word for word in _WORDS if not isinstance(content.get(word), str)]
    months = content.get("months")
    if missing or not isinstance(months, list) or len(months) != 12 or content.get("direction") not in {"ltr", "rtl"}:
        raise InvalidInput(f"{name}: needs {', '.join(missing) or 'direction ltr or rtl, and twelve months'}")
    table = {word: str(content[word]) for word in _WORDS}
    return Words(table["direction"], table["why"], table["unsubscribe"], table, tuple(map(str, months)))


def clean_text(text: str) -> str:
    """Text without controls, bidi tricks and invisible characters; newlines stay."""
    text = _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _STRAY_JOINER.sub("", _INVISIBLE.sub("", unicodedata.normalize("NFC", text)))


def clean_line(text: str) -> str:
    """The same on one line: for names, subjects and headers."""
    return " ".join(clean_text(text).split())


def person_name(name: str | None) -> str:
    """A customer's name fit for a greeting, or "" when it is none: too odd, or a link in disguise."""
    line = clean_line(name or "")
    if not line or _LINK_LIKE.search(line) or not any(character.isalpha() for character in line):
        return ""
    return _cut(line, _NAME_LIMIT)


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters, never between a letter and its marks."""
    if len(text) <= limit:
        return text
    while limit and unicodedata.combining(text[limit]):
        limit -= 1
    return text[:limit].rstrip() + "…"
