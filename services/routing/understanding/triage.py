"""What must happen first: is it spam, does it burn, would an answer help."""

import re
from collections.abc import Iterable

from services.routing.understanding.matcher import Hit
from services.routing.understanding.sentiment import Feeling
from services.routing.understanding.topics import Issues
from shared.contracts.tags import Urgency, UrgencyReason

SPAM_LIMIT = 0.7

_URL = re.compile(
    r"https?://|www\.|\b(?:bit\.ly|t\.me|wa\.me|tinyurl)\b|\b[\w-]{2,}\.(?:xyz|top|club|shop|info|click|ru|biz)\b",
    re.IGNORECASE,
)
_PHONE = re.compile(r"\+?\d[\d \-]{7,}\d")
_MONEY = re.compile(r"[$€£₺]\s?\d|\d\s?(?:[$€£₺%]|tl\b|usd\b|lira|تومان|تومن|میلیون)", re.IGNORECASE)
_SHOUT = re.compile(r"\b[A-Z]{4,}\b")
_REASONS: tuple[UrgencyReason, ...] = ("safety", "legal_threat", "public_reach", "deadline", "churn")


def spam_of(text: str, hits: Iterable[Hit]) -> tuple[float, str | None]:
    """Score 1 − ∏(1 − wᵢ) over independent signs, and the strongest sign. No sign alone is enough: customers post
    links too.
    """
    lures = {h.entry.phrase for h in hits if h.entry.kind == "other" and h.entry.name == "spam_lure"}
    signs = []
    if lures:
        signs.append((1 - 0.45 ** len(lures), "advertising or prize phrases"))
    if _URL.search(text):
        signs.append((0.4, "link"))
    if _PHONE.search(text):
        signs.append((0.25, "phone number"))
    if lures and _MONEY.search(text):
        signs.append((0.3, "money promised"))
    if lures and len(_SHOUT.findall(text)) > 1:
        signs.append((0.15, "shouting"))
    clean = 1.0
    for weight, _ in signs:
        clean *= 1 - weight
    score = round(1 - clean, 4)
    reason = max(signs)[1] if signs and score >= SPAM_LIMIT else None
    return score, reason


def urgency_of(
    hits: Iterable[Hit], feeling: Feeling, *, actionable: bool, public: bool
) -> tuple[Urgency, UrgencyReason | None]:
    """The gravest reason wins. Churn or a deadline in a glad text ("cancelled my old shop for you") is no alarm."""
    named = {h.entry.name for h in hits if h.entry.kind == "urgency"}
    for reason in _REASONS:
        if reason in named and (feeling.label != "positive" or reason in ("safety", "legal_threat")):
            return "high", reason
    if public and feeling.label == "negative" and feeling.score <= -0.95:
        return "high", "public_reach"
    return ("normal" if actionable else "low"), None


def is_actionable(issues: Issues, feeling: Feeling, *, spam: bool, thanks_only: bool, question: bool) -> bool:
    """Would an answer help? Praise alone, "thanks", "n/a" and spam make no case; whatever is not understood does."""
    names = {name for name, _ in issues}
    if spam or thanks_only or names == {"irrelevant"}:
        return False
    if feeling.label == "positive":
        return bool(names & {"how_to", "suggestion"})
    if feeling.label == "neutral":
        return question or bool(names)
    return True
