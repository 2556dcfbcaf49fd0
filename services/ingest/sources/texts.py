"""Words of a customer out of what a vendor sends."""

import html
import re
from typing import Any

_BREAKS = re.compile(r"<br\s*/?>|</(?:p|div|li|h[1-6]|blockquote)\s*>", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
# Python calls these two joiners unprintable; Persian spelling and composed emoji need them.
_JOINERS = "\u200c\u200d"
_TWO_LETTERS = re.compile("[a-z]{2}")
_MANY_LINES = re.compile(r"[ \t]*\n\s*\n\s*")


def without_tags(text: str) -> str:
    """Text that may have some HTML in it, without its tags."""
    return _TAGS.sub("", text).strip()


def plain(markup: str) -> str:
    """HTML as text: paragraphs on lines of their own, entities as characters."""
    text = _TAGS.sub("", _BREAKS.sub("\n", _HIDDEN.sub("", markup)))
    return _MANY_LINES.sub("\n\n", html.unescape(text)).strip()


def language(value: Any) -> str | None:
    """The two letters of a language tag (`tr-TR`, `fa`); None for what has none: one unknown code must not refuse what
    a customer said."""
    code = re.split("[-_]", value.strip(), maxsplit=1)[0].lower() if isinstance(value, str) else ""
    return code if _TWO_LETTERS.fullmatch(code) else None


def name(value: Any) -> str | None:
    """What somebody is called, without direction marks and the like, which no name of a customer may have."""
    text = value if isinstance(value, str) else ""
    return "".join(one for one in text if one.isprintable() or one in _JOINERS).strip() or None
