"""Lale: what it sells, where customers meet it, who they are, and how happy they tend to be."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.core.documents import from_yaml

WORKSPACE = "lale"
LANGUAGES = {"tr": 0.45, "en": 0.30, "fa": 0.25}
PRODUCTS = ("sofa", "lamp", "rug", "jacket", "tea set")
SEGMENTS = {"new": 0.35, "regular": 0.5, "gold": 0.15}
# Touchpoint → share of answers, channel, who is responsible, metrics asked, and the share of promoters and detractors.
TOUCHPOINTS: dict[str, tuple[float, str, str, tuple[str, ...], float, float]] = {
    "post_purchase": (0.30, "email", "sales", ("nps",), 0.56, 0.14),
    "delivery": (0.22, "sms", "support", ("nps",), 0.48, 0.22),
    "support_call": (0.16, "call_center", "support", ("nps", "csat"), 0.44, 0.26),
    "store": (0.12, "store", "sales", ("nps",), 0.60, 0.10),
    "app": (0.10, "app", "marketing", ("nps", "ces"), 0.42, 0.24),
    "web_visit": (0.10, "web", "marketing", ("nps", "ces"), 0.45, 0.20),
}
_NAMES = {
    "tr": ("Defne", "Emre", "Zeynep", "Kerem", "Elif", "Baran", "Selin", "Onur", "Ece", "Tolga"),
    "en": ("Nora", "Felix", "Ruby", "Owen", "Isla", "Theo", "Maya", "Leo", "Clara", "Hugo"),
    "fa": ("مینا", "آرش", "نگار", "کاوه", "سارا", "بهرام", "لیلا", "سینا", "پریسا", "امید"),
}
_LATIN = {"fa": ("mina", "arash", "negar", "kaveh", "sara", "bahram", "leyla", "sina", "parisa", "omid")}
_TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something a customer could write."""

    text: str
    language: str
    band: str | None
    touchpoint: str | None
    message: bool
    incident: bool


@dataclass(frozen=True, slots=True)
class Customer:
    """An invented person; the address leads nowhere (RFC 2606)."""

    id: str
    name: str
    email: str
    language: str
    segment: str


def sentences() -> list[Sentence]:
    """Every sentence of the three languages."""
    documents: list[dict[str, Any]] = [from_yaml(path.read_text("utf-8")) for path in sorted(_TEXTS.glob("*.yaml"))]
    return [_sentence(document["language"], entry) for document in documents for entry in document["sentences"]]


def _sentence(language: str, entry: dict[str, Any]) -> Sentence:
    return Sentence(
        text=entry["text"],
        language=language,
        band=entry.get("band"),
        touchpoint=entry.get("touchpoint"),
        message=entry.get("kind") == "message",
        incident=bool(entry.get("incident")),
    )


def customers(count: int, seed: int) -> list[Customer]:
    """The same `count` people for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - invented people, not secrets
    people = []
    for number in range(count):
        language = chance.choices(list(LANGUAGES), list(LANGUAGES.values()))[0]
        index = chance.randrange(len(_NAMES[language]))
        latin = _LATIN.get(language, _NAMES[language])[index].lower()
        segment = chance.choices(list(SEGMENTS), list(SEGMENTS.values()))[0]
        people.append(
            Customer(f"c{number}", _NAMES[language][index], f"{latin}.{number}@example.com", language, segment)
        )
    return people


class Chooser:
    """Picks what fits: a sentence in a customer's language, about a touchpoint, in the mood of a band."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._all = sentences()

    def answer(self, language: str, touchpoint: str, band: str) -> str:
        """Text of a survey answer; of another touchpoint where this one has none in that mood."""
        fitting = [s for s in self._all if s.language == language and s.band == band and not s.incident]
        exact = [s for s in fitting if s.touchpoint == touchpoint and not s.message]
        return self._chance.choice(exact or fitting).text

    def message(self, language: str) -> str:
        """Text of a post or a forum message."""
        return self._chance.choice(
            [s for s in self._all if s.language == language and s.message and not s.incident]
        ).text

    def incident(self, language: str) -> str:
        """What people say while the support line is down."""
        return self._chance.choice([s for s in self._all if s.language == language and s.incident]).text


def score(chance: random.Random, promoters: float, detractors: float) -> int:
    """An answer on 0–10 with these shares; scores inside a band as people use them."""
    draw = chance.random()
    if draw < promoters:
        return chance.choice((9, 9, 10, 10, 10))
    if draw < promoters + detractors:
        return chance.choice((0, 2, 3, 4, 5, 5, 6, 6))
    return chance.choice((7, 8, 8))


def band(value: int) -> str:
    """Band of an answer on 0–10."""
    return "promoter" if value >= 9 else "passive" if value >= 7 else "detractor"
