"""Reads PromQL in tokens: enough to tell series, labels and functions apart, for test_monitoring.py."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'[^']*')
      | (?P<range>\[[^\]]*\])
      | (?P<variable>\$\{?\w+\}?)
      | (?P<number>\d+(?:\.\d+)?(?:[smhdwy]\w*)?)
      | (?P<name>[a-zA-Z_:][\w:]*)
      | (?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){},])
      | (?P<space>\s+)""",
    re.VERBOSE,
)
_GROUPING = {"by", "without"}
_MATCHING = {"on", "ignoring", "group_left", "group_right"}
_WORDS = _GROUPING | _MATCHING | {"and", "or", "unless", "offset", "bool"}


@dataclass
class Selector:
    series: str
    matchers: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Expression:
    """`groupings`: (labels, series inside); `matched_on` and `ignored`: labels by which two sides meet, or do not."""

    selectors: list[Selector] = field(default_factory=list)
    groupings: list[tuple[tuple[str, ...], list[str]]] = field(default_factory=list)
    matched_on: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def read(text: str) -> Expression:
    """Read PromQL; raises ValueError for a character that is none of it."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"what is {text[position : position + 20]!r}?")
        position = token.end()
        if token.lastgroup not in ("space", "range"):
            tokens.append((token.lastgroup or "", token.group()))
    return _Reader(tokens).all()


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._read = Expression()

    def all(self) -> Expression:
        while self._at < len(self._tokens):
            self._step()
        return self._read

    def _step(self) -> None:
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind != "name":
            return
        if text in _GROUPING:
            labels = self._labels()
            first = len(self._read.selectors)
            self._arguments()
            self._read.groupings.append((labels, [one.series for one in self._read.selectors[first:]]))
        elif text == "ignoring":
            self._read.ignored += self._labels()
        elif text in _MATCHING:
            self._read.matched_on += self._labels()
        elif text not in _WORDS and self._peek() != "(" and self._peek() not in _GROUPING:
            self._read.selectors.append(Selector(text, self._matchers()))

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _labels(self) -> tuple[str, ...]:
        end = self._closing(self._at)
        labels = tuple(text for kind, text in self._tokens[self._at : end] if kind == "name")
        self._at = end + 1
        return labels

    def _arguments(self) -> None:
        if self._peek() != "(":
            raise ValueError("write `sum by (…) (…)`, so that what is grouped can be read")
        end = self._closing(self._at)
        while self._at < end:
            self._step()

    def _closing(self, start: int) -> int:
        depth = 0
        for index in range(start, len(self._tokens)):
            depth += {"(": 1, ")": -1}.get(self._tokens[index][1], 0)
            if depth == 0:
                return index
        raise ValueError("a bracket is not closed")

    def _matchers(self) -> list[tuple[str, str, str]]:
        matchers: list[tuple[str, str, str]] = []
        if self._peek() != "{":
            return matchers
        self._at += 1
        while self._peek() != "}":
            label, operator, value = (text for _, text in self._tokens[self._at : self._at + 3])
            matchers.append((label, operator, value.strip("\"'")))
            self._at += 3
            if self._peek() == ",":
                self._at += 1
        self._at += 1
        return matchers
