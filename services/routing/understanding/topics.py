"""What the text is about (issues) and who it is for (department), from phrase hits and the feeling already found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from services.routing.understanding.matcher import Hit
from services.routing.understanding.sentiment import Feeling
from shared.contracts.tags import Department, Issue

MIN_ISSUE = 0.5
MIN_DEPARTMENT = 0.5
_CAP = 3.0  # ten words about delivery are not ten times as much about delivery
_PRAISE_SCORE = 0.5

_HOME: dict[str, Department] = {
    "billing_refund": "support",
    "delivery": "support",
    "product_quality": "support",
    "bug": "support",
    "staff_service": "support",
    "cancellation": "support",
    "account_access": "support",
    "how_to": "support",
    "suggestion": "marketing",
    "store_experience": "sales",
    "price": "sales",
}
# A shop floor or a price question decides over the staff or quality words beside it; a "how do I" decides over nothing.
_PULL = {
    "store_experience": 2.2,
    "price": 1.4,
    "how_to": 0.5,
    "suggestion": 1.6,
    "staff_service": 0.9,
    "product_quality": 0.9,
}

Issues = tuple[tuple[Issue, float], ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """Issues, strongest first, and the department; `contentless` marks "n/a" and a lone "thanks"."""

    issues: Issues
    department: Department
    department_confidence: float


def issues_of(
    hits: Iterable[Hit], feeling: Feeling, *, spam: bool, thanks_only: bool, language_confidence: float
) -> Issues:
    """Confidence w / (w + 0.8) of the summed phrase weights: one topic word reaches 0.56, one complaint 0.71, a
    single hint stays below.
    """
    weights: dict[str, float] = {}
    seen: set[tuple[str, str]] = set()
    for hit in hits:
        entry = hit.entry
        if entry.kind == "issue" and (entry.name, entry.phrase) not in seen:
            seen.add((entry.name, entry.phrase))
            weights[entry.name] = min(_CAP, weights.get(entry.name, 0.0) + entry.weight)
    if "irrelevant" in weights and any(w >= 1.0 for name, w in weights.items() if name not in ("irrelevant", "how_to")):
        del weights["irrelevant"]  # somebody chatting about football and a broken lamp still has a broken lamp
    if spam:
        return (("spam", 0.8),)
    if feeling.label == "positive" and (feeling.score >= _PRAISE_SCORE or thanks_only):
        weights["praise"] = max(weights.get("praise", 0.0), 2.0 * feeling.score, 1.2 if thanks_only else 0.0)
        weights.pop("how_to", None)
    else:
        weights.pop("praise", None)
    factor = 0.9 + 0.1 * language_confidence
    scored = [(cast(Issue, name), round(factor * w / (w + 0.8), 4)) for name, w in weights.items()]
    return tuple(sorted((s for s in scored if s[1] >= MIN_ISSUE), key=lambda s: (-s[1], s[0])))


def department_of(
    issues: Issues, hits: Sequence[Hit], feeling: Feeling, *, thanks_only: bool
) -> tuple[Department, float]:
    """Praise goes to marketing (testimonials, referral), open questions before a purchase to sales, what is broken to
    support.
    """
    names = {name for name, _ in issues}
    if "spam" in names or names == {"irrelevant"} or thanks_only:
        return "none", 0.7
    if "praise" in names and feeling.label == "positive":
        return "marketing", round(min(0.9, 0.5 + 0.4 * feeling.score), 4)
    votes: dict[Department, float] = {}
    for issue, weight in issues:
        if issue in _HOME:
            votes[_HOME[issue]] = votes.get(_HOME[issue], 0.0) + weight * _PULL.get(issue, 1.0)
    for name, _ in sorted({(h.entry.name, h.entry.phrase) for h in hits if h.entry.kind == "department"}):
        side = cast(Department, name)
        votes[side] = votes.get(side, 0.0) + 1.2
    if not votes:  # nothing named, but plainly trouble: support opens the case
        if any(h.entry.kind == "urgency" for h in hits):
            return "support", MIN_DEPARTMENT
        return (
            ("support", MIN_DEPARTMENT)
            if feeling.label == "negative" and feeling.score < -_PRAISE_SCORE
            else ("none", 0.0)
        )
    best = max(sorted(votes), key=lambda side: votes[side])
    confidence = round(votes[best] / (sum(votes.values()) + 0.3), 4)
    return (best, confidence) if confidence >= 0.35 else ("none", confidence)
