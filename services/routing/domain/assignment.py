"""An assignment and its changes as values."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.contracts.assignment_changed import AssignmentChange, AssignmentState, Explanation, Priority, Term
from shared.contracts.feedback_received import Band
from shared.contracts.tags import Issue, Sentiment, Urgency
from shared.core.ids import name_id

SYSTEM = "system"
OPEN: tuple[AssignmentState, ...] = ("queued", "assigned", "taken", "answered")
# What fills a member's capacity: an answered one waits for the fix, not for them.
LOADING: tuple[AssignmentState, ...] = ("assigned", "taken")


@dataclass(frozen=True, slots=True)
class Assignment:
    """As stored. `clock_due_at` is the due time while the first-response clock runs; `declined_by` are members who
    handed it back: they are asked again only after a long wait."""

    workspace: str
    id: UUID
    feedback_id: UUID
    correlation_id: UUID
    state: AssignmentState
    sequence: int
    team: str | None
    member_id: str | None
    customer_id: UUID | None
    channel: str
    touchpoint: str | None
    department: str | None
    tagged_department: str
    product: str | None
    segment: str | None
    language: str
    band: Band | None
    sentiment: Sentiment
    urgency: Urgency
    issues: tuple[Issue, ...]
    priority: Priority
    priority_terms: tuple[Term, ...]
    public: bool
    opened_at: datetime
    queued_at: datetime | None
    assigned_at: datetime | None
    first_response_due_at: datetime | None
    clock_due_at: datetime | None
    at_risk_at: datetime | None
    breached_at: datetime | None
    first_response_at: datetime | None
    first_response_seconds: float | None
    resolved_at: datetime | None
    resolved_by: str | None
    cause: str | None
    action: str | None
    declined_by: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Not resolved."""
        return self.state != "resolved"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the assignment after it, what it was, who did it, why. `note` is what a person wrote."""

    after: Assignment
    change: AssignmentChange
    actor: str
    at: datetime
    explanation: Explanation | None = None
    note: str | None = None


def assignment_id(workspace: str, feedback_id: UUID) -> UUID:
    """One assignment per feedback: the same feedback gives the same id."""
    return name_id("assignment", workspace, str(feedback_id))
