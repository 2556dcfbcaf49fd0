"""The first `Understander`: hand-written rules for English, Turkish and Persian.

Its confidences come from rule weights. They order answers honestly (more and clearer evidence, more confidence) but
are not calibrated:
0.8 does not promise eight in ten. A trained model behind the same port shall replace them.
"""

from collections.abc import Sequence

from services.routing.understanding.language import Guess, LanguageRules
from services.routing.understanding.lexicon import load_all, load_emoji
from services.routing.understanding.matcher import Hit
from services.routing.understanding.normalise import Tokens, clean, fold, tokenise
from services.routing.understanding.port import Message, Understanding
from services.routing.understanding.sentiment import Feeling, judge
from services.routing.understanding.topics import department_of, issues_of
from services.routing.understanding.triage import SPAM_LIMIT, is_actionable, spam_of, urgency_of

VERSION = "rules-1"
MIN_SENTIMENT = 0.5
_THANKS_MAX_WORDS = 5
_QUESTION_MARKS = ("?", "؟")


class RulesUnderstander:
    """Loads and compiles the lexicons once (some 0.1 s); afterwards pure, deterministic and safe to share between
    tasks.
    """

    def __init__(self) -> None:
        self._lexicons = load_all()
        self._emoji = load_emoji()
        self._language = LanguageRules(self._lexicons)

    def understand(self, messages: Sequence[Message]) -> list[Understanding]:
        """One answer per message, in order."""
        return [self._one(message) for message in messages]

    def _one(self, message: Message) -> Understanding:
        text = clean(message.text)
        tokens = tokenise(fold(text))
        guess = self._language.guess(text, tokens.words, message.language_hint)
        found = [(name, tokens, self._lexicons[name].matcher.find(tokens)) for name in self._applied(guess)]
        hits = [hit for _, _, part in found for hit in part]
        if guess.language == "und" or guess.mixed:
            feeling = self._feeling(text, found, hits)
        else:
            feeling = Feeling("unknown", 0.0, 0.0, 0)
        return _assemble(message, text, tokens, guess, hits, feeling)

    def _applied(self, guess: Guess) -> tuple[str, ...]:
        """Spam and emoji cross languages, so a text in no known language still meets every rule; a German one meets
        none.
        """
        if guess.mixed:
            return guess.mixed
        return tuple(self._lexicons) if guess.language == "und" else ()

    def _feeling(self, text: str, found: list[tuple[str, Tokens, list[Hit]]], hits: list[Hit]) -> Feeling:
        emoji = [] if text.isascii() else [self._emoji[c] for c in text if c in self._emoji]
        asks = _has(hits, "issue", "how_to") or _has(hits, "issue", "suggestion")
        empty = _has(hits, "issue", "irrelevant")
        feeling = judge(found, emoji, text, asks or empty)
        if feeling.confidence < MIN_SENTIMENT and feeling.label != "unknown":
            return Feeling("unknown", feeling.score, feeling.confidence, feeling.hits)
        return feeling


def _has(hits: list[Hit], kind: str, name: str) -> bool:
    return any(h.entry.kind == kind and h.entry.name == name for h in hits)


def _assemble(
    message: Message, text: str, tokens: Tokens, guess: Guess, hits: list[Hit], feeling: Feeling
) -> Understanding:
    """Tags depend on each other in one direction: spam, feeling, issues, department, actionable, urgency."""
    spam_score, spam_reason = spam_of(text, hits)
    spam = spam_score >= SPAM_LIMIT
    if spam:
        feeling = Feeling("neutral", 0.0, 0.5, 0)
    thanks_only = len(tokens.words) <= _THANKS_MAX_WORDS and feeling.label == "positive" and _only_thanks(tokens, hits)
    issues = issues_of(hits, feeling, spam=spam, thanks_only=thanks_only, language_confidence=guess.confidence)
    department, department_confidence = department_of(issues, hits, feeling, thanks_only=thanks_only)
    question = any(mark in text for mark in _QUESTION_MARKS)
    actionable = is_actionable(issues, feeling, spam=spam, thanks_only=thanks_only, question=question)
    urgency, reason = urgency_of([] if spam else hits, feeling, actionable=actionable, public=message.public)
    return Understanding(
        language=guess.language,
        language_confidence=guess.confidence,
        sentiment=feeling.label,
        sentiment_score=feeling.score,
        sentiment_confidence=feeling.confidence,
        department=department,
        department_confidence=department_confidence,
        issues=issues,
        urgency=urgency,
        urgency_reason=reason,
        actionable=actionable,
        spam=spam,
        spam_score=spam_score,
        spam_reason=spam_reason,
        version=VERSION,
    )


def _only_thanks(tokens: Tokens, hits: list[Hit]) -> bool:
    """Every word belongs to a thank-you."""
    covered = {p for h in hits if h.entry.kind == "other" and h.entry.name == "thanks" for p in range(h.start, h.end)}
    return bool(covered) and len(covered) == len(tokens.words)
