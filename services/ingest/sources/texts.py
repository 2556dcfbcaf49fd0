"""Words of a customer out of what a vendor sends."""

import html
import re

_BREAKS = re.compile(r"<br\s*/?>|</(?:p|div|li|h[1-6]|blockquote)\s*>", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_MANY_LINES = re.compile(r"[ \t]*\n\s*\n\s*")


def without_tags(text: str) -> str:
    """Text that may have some HTML in it, without its tags."""
    return _TAGS.sub("", text).strip()


def plain(markup: str) -> str:
    """HTML as text: paragraphs on lines of their own, entities as characters."""
    text = _TAGS.sub("", _BREAKS.sub("\n", _HIDDEN.sub("", markup)))
    return _MANY_LINES.sub("\n\n", html.unescape(text)).strip()
