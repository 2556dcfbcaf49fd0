"""The door between routing and whatever understands text: rules today, a trained model tomorrow, both behind
`Understander`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.contracts.tags import Department, Issue, Sentiment, Urgency, UrgencyReason


@dataclass(frozen=True, slots=True)
class Message:
    """One text to understand. `language_hint` is what the channel claims (a survey's locale); `public` means others
    can read it.
    """

    text: str
    language_hint: str | None = None
    public: bool = False


@dataclass(frozen=True, slots=True)
class Understanding:
    """Every tag of one message, each with its confidence in [0, 1], and the version of what produced them.

    `und`, `unknown` and (for a message that is actionable) `none` ask for a person. `spam_score` is always given, so
    that the limit
    can be judged later; `spam_reason` only where `spam` is true.
    """

    language: str
    language_confidence: float
    sentiment: Sentiment
    sentiment_score: float
    sentiment_confidence: float
    department: Department
    department_confidence: float
    issues: tuple[tuple[Issue, float], ...]
    urgency: Urgency
    urgency_reason: UrgencyReason | None
    actionable: bool
    spam: bool
    spam_score: float
    spam_reason: str | None
    version: str


class Understander(Protocol):
    """Pure and deterministic: no I/O after construction, the same batch gives the same answer, one by one or
    together.
    """

    def understand(self, messages: Sequence[Message]) -> list[Understanding]: ...
