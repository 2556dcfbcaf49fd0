"""Loads the word lists beside this file. They are data so that a native speaker can mend them without reading Python.

All lists were written for this project; none is copied from a published lexicon.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from services.routing.understanding.matcher import Entry, Matcher, parse
from services.routing.understanding.normalise import fold
from shared.contracts.tags import ISSUES
from shared.core.documents import from_yaml

LANGUAGES = ("en", "tr", "fa")

_VALENCE = {
    "very_positive": 2.6,
    "positive": 1.7,
    "slightly_positive": 0.8,
    "balanced": 0.0,  # "so so": a verdict, and it is the middle
    "shield": 0.0,  # "would like": no verdict, it only keeps "like" from being one
    "slightly_negative": -0.8,
    "negative": -1.7,
    "very_negative": -2.6,
}
_SCOPE = {
    "negator_before": 1.0,
    "negator_after": 1.0,
    "booster": 1.4,
    "damper": 0.6,
    "contrast": 1.0,
    "concession": 1.0,
}
_THREAT = {
    "legal_threat": -0.8,
    "safety": -0.8,
    "churn": -0.8,
}  # who says this is not content, whatever else the text holds
_LEVEL = {"hint": (0.5, 0.0), "topic": (1.0, 0.0), "complaint": (2.0, -1.7)}


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One language's phrases, ready to match."""

    language: str
    matcher: Matcher


def read(name: str) -> dict[str, Any]:
    """A YAML file of the lexicon folder."""
    loaded: dict[str, Any] = from_yaml(files(__package__).joinpath("lexicon", name).read_text(encoding="utf-8"))
    return loaded


def phrases(block: str) -> list[str]:
    """A comma-separated block as a list."""
    return [p.strip() for p in block.split(",") if p.strip()]


@cache
def load(language: str) -> Lexicon:
    """Read and compile one language, once per process; a misspelt section or issue fails here and not in silence."""
    return Lexicon(language, Matcher(_entries(read(f"{language}.yaml"))))


def load_all() -> dict[str, Lexicon]:
    """Every language that has full rules."""
    return {language: load(language) for language in LANGUAGES}


def load_emoji() -> dict[str, float]:
    """Emoji to feeling; variation selectors are gone by then, as in the text."""
    groups = read("emoji.yaml")
    return {char: _VALENCE[group] for group, chars in groups.items() for char in fold(chars).split()}


def _entries(data: dict[str, Any]) -> Iterator[Entry]:
    for group, block in data["sentiment"].items():
        for phrase in phrases(block):
            yield Entry("sentiment", group, 1.0, _VALENCE[group], parse(phrase), phrase)
    for group, block in data["scope"].items():
        for phrase in phrases(block):
            yield Entry(group, phrase, _SCOPE[group], 0.0, parse(phrase), phrase)
    for issue, levels in data["issues"].items():
        if issue not in ISSUES:
            raise ValueError(f"lexicon names an unknown issue {issue!r}")
        for level, block in levels.items():
            weight, valence = _LEVEL[level]
            for phrase in phrases(block):
                yield Entry("issue", issue, weight, valence, parse(phrase), phrase)
    for kind in ("department", "urgency", "other"):
        for name, block in data[kind].items():
            for phrase in phrases(block):
                yield Entry(kind, name, 1.0, _THREAT.get(name, 0.0), parse(phrase), phrase)
