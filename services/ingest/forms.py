"""How a sender writes feedback: what its bodies have in common word for word, and between that the values that each has
for itself (an id, a time, a score, words, a customer).

A form is read off a body that was accepted. Whatever matches it is JSON with the same names in the same places, without
a parser: a value is only matched where nothing in it could end it early.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

# Without quotes, escapes and blanks around it; whether all of it can be printed is looked at for many at once.
_LINE = r'(?! )[^"\\]{1,%d}+(?<! )'
_NAME = _LINE % 200
_ZONE = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?" + _ZONE
_EMAIL = r'(?=[^"]{3,254}")[^@\s"\\]++@[^@\s"\\]++'
_NUMBER = r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?"
_CHARACTER = r'[^"\\\x00-\x1f]'
# Escapes may stay as they are, but for those of a number, which can hide anything.
_WORDS = rf'(?=[^"]){_CHARACTER}*+(?:\\["\\/bfnrt]{_CHARACTER}*+)*+'

SCORE, RATING = "score", "ratings.value"
_TEXTS = {
    "id": _NAME,
    "occurred_at": _TIME,
    "customer.id": _NAME,
    "customer.email": _EMAIL,
    "customer.handle": _NAME,
    "customer.name": _NAME,
    "title": _WORDS,
    "text": _WORDS,
    "url": r"https?://[!#-\[\]-~]{1,2000}+",
    "thread_id": _LINE % 80,
}
_NUMBERS = {"revision": r"(?:0|[1-9][0-9]{0,17})", SCORE: _NUMBER, RATING: _NUMBER}
_OWN = {*_TEXTS, *_NUMBERS, "customer.phone"}
_VALUES, _ABSENT = {"text", "number", "word"}, {"", "null"}
_TOKEN = re.compile(
    r'(?P<name>"[^"\\]*+"\s*+:)|"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<word>[a-z]++)|(?P<number>[-+.0-9eE]++)'
    r"|(?P<mark>[{}\[\],\s])"
)


class Form(NamedTuple):
    """Its match has groups in turn: what all have in common, a value, what all have in common, a value, …"""

    match: Callable[[str], re.Match[str] | None]
    names: tuple[str, ...]
    """Of the values; only ratings come more than once."""


def form_of(text: str) -> Form | None:
    """The form of accepted feedback, if it has one: values with escapes have none, but for words."""
    pattern: list[str] = []
    names: list[str] = []
    common = ""
    for kind, piece, place in _tokens(text):
        own = {"text": _TEXTS, "number": _NUMBERS}.get(kind, {}).get(place)
        quote = '"' if kind == "text" else ""
        if own is not None and piece:
            pattern += (f"({common}{quote})", f"({own})")
            names.append(place)
            common = quote
        elif kind in _VALUES and place in _OWN and piece not in _ABSENT:
            return None  # a number as text, a text as number: accepted, and not as it stands
        elif kind == "text" and "\\" in piece:
            return None
        elif kind == "text" and piece:
            common += '"[^"]*+"'
        elif kind == "number":
            common += "[-+.0-9eE]++"
        else:
            common += re.escape(f"{quote}{piece}{quote}")
    form = Form(_compiled("".join((*pattern, f"({common})"))), tuple(names))
    return form if "id" in names and form.match(text) else None


def _tokens(text: str) -> Iterator[tuple[str, str, str]]:
    """Kind, content and place (`customer.id`) of each token of a JSON object."""
    names: list[str] = []
    for found in _TOKEN.finditer(text):
        kind, piece = str(found.lastgroup), found[str(found.lastgroup)]
        if kind == "mark" and piece == "{":
            names.append("")
        elif kind == "mark" and piece == "}":
            names.pop()
        elif kind == "name":
            names[-1] = piece[1 : piece.rindex('"')]
        yield kind, piece, ".".join(names)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(pattern).fullmatch
