"""Feeling of a text: valued phrases, turned by negation, scaled by intensifiers, weighed by contrast ("but", "ama",
"ولی").

No phrase, no verdict: `unknown` is an answer here, since a wrong "positive" hides a customer in need.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.routing.understanding.matcher import Hit
from services.routing.understanding.normalise import Tokens
from shared.contracts.tags import Sentiment

POLAR = 0.7  # total feeling from which a text has a side
_SOFTNESS = 4.0  # score = total / √(total² + softness): one plain word gives about ± 0.65
_REACH_BEFORE, _REACH_AFTER = 3, 2
_NEGATED_POSITIVE, _NEGATED_NEGATIVE = -0.85, -0.45
_BEFORE_CONTRAST, _AFTER_CONTRAST = 0.55, 1.3
_ASKING = 0.5  # "Nice lamp. How do I clean it?" is a question, not praise
_ASKED = 0.4  # "Would you recommend it?" recommends nothing
_BALANCED = 0.6
_IRONY = frozenset("🙃🙄")

# What stands after a verb's stem when Turkish negates it: beğen-me-dim, beğen-mi-yorum, çalış-maz. Infinitives (-mek)
# stay out.
_TURKISH_NEGATION = re.compile(
    r"(?:[iua]?[nl]|e?[nl]|[iuae]r|t[iu]r|y?[ae]bil|y?[ae])?m(?:[iu]yor|[ae](?:d[iu]|z|y[ae]|m[iu]s|s[iu]n))"
)


@dataclass(frozen=True, slots=True)
class Feeling:
    """`total` is the raw sum, for those who need more than the label; `hits` counts the phrases behind it."""

    label: Sentiment
    score: float
    confidence: float
    hits: int


def judge(
    found: Sequence[tuple[str, Tokens, Sequence[Hit]]], emoji: Sequence[float], text: str, plain_question: bool
) -> Feeling:
    """Sum over the languages that the text holds (usually one). `plain_question` lets a text without feeling be
    neutral.
    """
    total, count = 0.0, 0
    for language, tokens, hits in found:
        part, number = _sum(language, tokens, hits)
        total, count = total + part, count + number
    if plain_question:
        total *= _ASKING
    if _IRONY & set(text):
        total = min(total, 0.1 * total)
        emoji = [value for value in emoji if value < 0]
    for value in sorted(emoji, key=abs, reverse=True)[:2]:
        total, count = total + value * (0.6 if count else 0.9), count + 1
    if count and text.count("!") > 1:
        total *= 1.15
    return _label(total, count, plain_question)


def _label(total: float, count: int, plain_question: bool) -> Feeling:
    score = round(total / math.sqrt(total * total + _SOFTNESS), 4)
    if count == 0:
        return Feeling("neutral", 0.0, 0.6, 0) if plain_question else Feeling("unknown", 0.0, 0.0, 0)
    if abs(total) < POLAR:
        return Feeling("neutral", score, 0.55, count)
    return Feeling("positive" if total > 0 else "negative", score, round(0.5 + 0.45 * abs(score), 4), count)


def _sum(language: str, tokens: Tokens, hits: Sequence[Hit]) -> tuple[float, int]:
    valued = _longest([h for h in hits if h.entry.kind == "sentiment" or h.entry.valence])
    covered = {place for h in valued for place in range(h.start, h.end)}
    scope = [
        h
        for h in hits
        if h.entry.kind not in ("sentiment", "issue", "urgency") and not covered.intersection(range(h.start, h.end))
    ]
    turns = [h for h in hits if h.entry.kind in ("contrast", "concession")]
    total, count = 0.0, 0
    for hit in valued:
        value = _scoped(language, tokens, hit, scope)
        for turn in turns:
            value *= _weigh(hit, turn, valued, tokens)
        total, count = total + value, count + (hit.entry.name != "shield")
    return total * _BALANCED if any(h.entry.name == "balanced" for h in valued) else total, count


def _longest(hits: list[Hit]) -> list[Hit]:
    """ "not bad" must not also count "bad": the longer phrase owns its words."""
    taken: set[int] = set()
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start - h.end, -abs(h.entry.valence), h.start)):
        places = range(hit.start, hit.end)
        if taken.isdisjoint(places):
            taken.update(places)
            kept.append(hit)
    return kept


def _scoped(language: str, tokens: Tokens, hit: Hit, scope: list[Hit]) -> float:
    """Value of one phrase after the words around it. A complaint ("never arrived") holds its negation already."""
    value, clause = hit.entry.valence, tokens.clause[hit.start]
    if value > 0 and tokens.sentence[hit.start] in tokens.questions:
        value *= _ASKED
    negated = False
    # A negative phrase of several words ("never from you again") has its verb's negation in mind; a word has not.
    turnable = hit.entry.kind == "sentiment" and (value > 0 or hit.end - hit.start == 1)
    for other in scope:
        if tokens.clause[other.start] != clause:
            continue
        before, after = hit.start - other.end, other.start - hit.end
        kind = other.entry.kind
        if kind == "negator_before" and 0 <= before < _REACH_BEFORE:
            negated = negated or hit.entry.kind == "sentiment"
        elif kind == "negator_after" and 0 <= after < _REACH_AFTER:
            negated = negated or turnable
        elif kind in ("booster", "damper") and (0 <= before < 2 or (after == 0 and language == "en")):
            value *= other.entry.weight
    if language == "tr" and hit.entry.kind == "sentiment" and _verb_negated(hit, tokens):
        negated = not negated
    if negated:
        value *= _NEGATED_POSITIVE if value > 0 else _NEGATED_NEGATIVE
    return value


def _verb_negated(hit: Hit, tokens: Tokens) -> bool:
    """Turkish puts "not" inside the verb; only phrases ending in an open stem can hide it."""
    word = tokens.words[hit.end - 1]
    stems = [s for s in hit.entry.parts[-1].stems if word.startswith(s)]
    return bool(stems) and _TURKISH_NEGATION.match(word, len(max(stems, key=len))) is not None


def _weigh(hit: Hit, turn: Hit, valued: list[Hit], tokens: Tokens) -> float:
    """What follows "but" is what the writer means; after "although" it is the other way about."""
    sentence = tokens.sentence[turn.start]
    if tokens.sentence[hit.start] != sentence:
        return 1.0
    if not any(h.start >= turn.end and tokens.sentence[h.start] == sentence for h in valued):
        return 1.0
    follows = hit.start >= turn.end
    if turn.entry.kind == "concession":
        follows = not follows
    return _AFTER_CONTRAST if follows else _BEFORE_CONTRAST
