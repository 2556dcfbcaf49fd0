"""Finds lexicon phrases in tokens in one pass, whatever their number: a dictionary look-up per word, not a regular
expression per phrase.

Phrase notation: words apart by spaces; `word*` is any word that starts so (Turkish and Persian put grammar at the end);
`a|b` is either; `..` is a gap of at most three words.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from services.routing.understanding.normalise import Tokens, fold

MAX_GAP = 3
_CACHE_LIMIT = 50_000


@dataclass(frozen=True, slots=True)
class Part:
    """One position of a phrase; a part with neither words nor stems is a gap."""

    words: frozenset[str]
    stems: tuple[str, ...]

    @property
    def is_gap(self) -> bool:
        return not self.words and not self.stems

    def accepts(self, word: str) -> bool:
        return word in self.words or (bool(self.stems) and word.startswith(self.stems))


@dataclass(frozen=True, slots=True)
class Entry:
    """A phrase and what it means: `kind` (sentiment, issue, department, …), `name` in that kind, weight, and the
    feeling it carries.
    """

    kind: str
    name: str
    weight: float
    valence: float
    parts: tuple[Part, ...]
    phrase: str


@dataclass(frozen=True, slots=True)
class Hit:
    """`entry` found at words [start, end)."""

    entry: Entry
    start: int
    end: int


def parse(phrase: str) -> tuple[Part, ...]:
    """Read the notation above; a phrase that folds to nothing is an error in the lexicon, found at construction."""
    parts: list[Part] = []
    for piece in fold(phrase).split():
        if piece == "..":
            parts.append(Part(frozenset(), ()))
            continue
        choices = [c for c in piece.split("|") if c.strip("*")]
        words = frozenset(c for c in choices if not c.endswith("*"))
        parts.append(Part(words, tuple(c[:-1] for c in choices if c.endswith("*"))))
    if not parts or parts[0].is_gap or parts[-1].is_gap:
        raise ValueError(f"lexicon phrase {phrase!r} must begin and end with a word")
    return tuple(parts)


class Matcher:
    """All phrases of one language, indexed by their first word or stem."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._words: dict[str, list[Entry]] = {}
        self._stems: dict[str, list[Entry]] = {}
        for entry in entries:
            for word in entry.parts[0].words:
                self._words.setdefault(word, []).append(entry)
            for stem in entry.parts[0].stems:
                self._stems.setdefault(stem, []).append(entry)
        self._longest = max(map(len, self._stems), default=0)
        self._cache: dict[str, tuple[Entry, ...]] = {}

    def candidates(self, word: str) -> tuple[Entry, ...]:
        """Phrases that may begin with this word. The cache only saves time: it never changes an answer."""
        found = self._cache.get(word)
        if found is None:
            entries = list(self._words.get(word, ()))
            for length in range(1, min(len(word), self._longest) + 1):
                entries.extend(self._stems.get(word[:length], ()))
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            found = self._cache[word] = tuple(entries)
        return found

    def find(self, tokens: Tokens) -> list[Hit]:
        """Every phrase at every place, overlaps included: who must not count twice drops them himself."""
        hits: list[Hit] = []
        for start, word in enumerate(tokens.words):
            for entry in self.candidates(word):
                end = start + 1 if len(entry.parts) == 1 else _end(entry.parts, 1, start + 1, tokens)
                if end:
                    hits.append(Hit(entry, start, end))
        return hits


def _end(parts: tuple[Part, ...], part: int, at: int, tokens: Tokens) -> int:
    """Where the rest of a phrase ends, or 0. Words must stand in the sentence in which the phrase began."""
    sentence = tokens.sentence[at - 1]
    while part < len(parts):
        gap = parts[part].is_gap
        part += gap
        for place in range(at, min(at + (MAX_GAP if gap else 0) + 1, len(tokens.words))):
            if tokens.sentence[place] != sentence:
                return 0
            if parts[part].accepts(tokens.words[place]):
                at = place + 1
                break
        else:
            return 0
        part += 1
    return at
