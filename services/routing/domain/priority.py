"""Priority as a transparent sum: every addend is named, and the names travel with the assignment."""

from collections.abc import Mapping, Sequence

from services.routing.domain.need import unhappy
from shared.contracts.assignment_changed import Priority, Term
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.tags import Sentiment, Urgency, UrgencyReason

# A detractor who complains in text (40 + 15 + 15) is high, and urgent when others can read it or it cannot wait.
LEVELS: tuple[tuple[float, Priority], ...] = ((75, "urgent"), (45, "high"), (15, "normal"))
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")
BAND_POINTS = {"detractor": 40.0, "passive": 10.0}
UNHAPPY_RATING_POINTS = 35.0
SENTIMENT_POINTS: Mapping[Sentiment, float] = {"negative": 15.0, "unknown": 5.0}
URGENCY_POINTS: Mapping[Urgency, float] = {"high": 35.0, "low": -10.0}
GRAVE_POINTS = 25.0
GRAVE: frozenset[UrgencyReason] = frozenset({"legal_threat", "safety"})
ACTIONABLE_POINTS = 15.0
PUBLIC_POINTS = 20.0
SLA_RISK_POINTS = 20.0
WAITING_POINTS_AN_HOUR = 10.0
WAITING_POINTS_MOST = 20.0


def terms(
    feedback: FeedbackReceivedV1,
    *,
    sentiment: Sentiment,
    urgency: Urgency,
    urgency_reason: UrgencyReason | None,
    actionable: bool,
    segments: Mapping[str, float],
) -> tuple[Term, ...]:
    """The addends that are not zero. `segments` gives the value of a customer segment (casefolded name → points)."""
    band = feedback.band()
    rated = UNHAPPY_RATING_POINTS if band is None and unhappy(feedback) else 0.0
    addends = {
        "band": BAND_POINTS.get(band or "", 0.0),
        "rating": rated,
        "sentiment": SENTIMENT_POINTS.get(sentiment, 0.0),
        "urgency": URGENCY_POINTS.get(urgency, 0.0),
        "grave": GRAVE_POINTS if urgency_reason in GRAVE else 0.0,
        "actionable": ACTIONABLE_POINTS if actionable else 0.0,
        "reach": PUBLIC_POINTS if feedback.public and sentiment != "positive" else 0.0,
        "segment": segments.get((feedback.segment or "").casefold(), 0.0),
    }
    return tuple(Term(name=name, value=value) for name, value in addends.items() if value)


def waiting_term(waited_seconds: float) -> Term:
    """What waiting in the queue adds."""
    return Term(
        name="waiting", value=round(min(WAITING_POINTS_MOST, waited_seconds / 3600 * WAITING_POINTS_AN_HOUR), 1)
    )


def total(addends: Sequence[Term]) -> float:
    """The sum."""
    return sum(term.value for term in addends)


def level(points: float) -> Priority:
    """The priority of a sum."""
    return next((priority for least, priority in LEVELS if points >= least), "low")
