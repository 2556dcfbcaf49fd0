"""How a sender writes feedback: what its bodies have in common word for word, and between that the values that each has
for itself (an id, a time, a score, words, a customer).

A form is read off a body that was accepted. Whatever matches it is JSON with the same names in the same places, without
a parser: a value is only matched where nothing in it could end it early.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

# Lengths are counted in bytes: what is long in UTF-8 alone goes the whole way.
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
# What differs between frames, and is looked up there as it stands.
_ANY_TEXT, _ANY_NUMBER = '"[^"]*+"', "[-+.0-9eE]++"
_OWN = {*_TEXTS, *_NUMBERS, "customer.phone"}
_VALUES, _ABSENT = {"text", "number", "word"}, {"", "null"}
_TOKEN = re.compile(
    r'(?P<name>"[^"\\]*+"\s*+:)|"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<word>[a-z]++)|(?P<number>[-+.0-9eE]++)'
    r"|(?P<mark>[{}\[\],\s])"
)


class Form(NamedTuple):
    """`match` takes a text apart. Of its groups, by place, `own` are the values, and `common` what stands between them
    where that is not the same for all of the form."""

    match: Callable[[bytes], re.Match[bytes] | None]
    names: tuple[str, ...]
    """Of the values; only ratings come more than once."""
    own: tuple[int, ...]
    common: tuple[int, ...]


def form_of(text: str) -> Form | None:
    """The form of accepted feedback, if it has one: values with escapes have none, but for words."""
    between = [""]
    values: list[str] = []
    names: list[str] = []
    for kind, piece, place in _tokens(text):
        own = {"text": _TEXTS, "number": _NUMBERS}.get(kind, {}).get(place)
        quote = '"' if kind == "text" else ""
        if own is not None and piece:
            between[-1] += quote
            between.append(quote)
            values.append(own)
            names.append(place)
        elif kind in _VALUES and place in _OWN and piece not in _ABSENT:
            return None  # a number as text, a text as number: accepted, and not as it stands
        elif kind == "text" and "\\" in piece:
            return None
        elif kind == "text" and piece:
            between[-1] += _ANY_TEXT
        elif kind == "number":
            between[-1] += _ANY_NUMBER
        else:
            between[-1] += re.escape(f"{quote}{piece}{quote}")
    form = _form(between, values, names)
    return form if "id" in names and form.match(text.encode()) else None


def _form(between: list[str], values: list[str], names: list[str]) -> Form:
    varies = [_ANY_TEXT in one or _ANY_NUMBER in one for one in between]
    # What every text of the form has needs no group: it stands in the pattern.
    pattern = [f"({one})" if does else one for one, does in zip(between, varies, strict=True)]
    for n, value in enumerate(values):
        pattern[n] += f"({value})"
    groups = [is_value for does in varies for is_value in ([False] * does + [True])][:-1]
    own, common = (tuple(n for n, is_value in enumerate(groups) if is_value is kind) for kind in (True, False))
    return Form(_compiled("".join(pattern)), tuple(names), own, common)


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
def _compiled(pattern: str) -> Callable[[bytes], re.Match[bytes] | None]:
    return re.compile(pattern.encode()).fullmatch
