"""`assignment.changed.v1`: who has a piece of feedback to answer, why them, and how its clock stands."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part, Text
from shared.contracts.feedback_received import Band
from shared.contracts.tags import Issue, Sentiment, Urgency
from shared.contracts.topics import ASSIGNMENT_CHANGED, Topic

AssignmentState = Literal["queued", "assigned", "taken", "answered", "resolved"]
AssignmentChange = Literal[
    "queued", "assigned", "taken", "answered", "handed_over", "resolved", "reopened", "at_risk", "breached"
]
Priority = Literal["urgent", "high", "normal", "low"]


class Removed(Part):
    """A member who was looked at and not eligible, with the rule that removed them."""

    member_id: Label
    reason: Text


class Term(Part):
    """One addend of a transparent sum."""

    name: Label
    value: float


class Explanation(Part):
    """Why this member: who was eligible, what removed the others, what made the priority."""

    eligible: tuple[Label, ...] = ()
    removed: tuple[Removed, ...] = ()
    chosen_because: Text
    priority_terms: tuple[Term, ...] = ()


class Resolution(Part):
    """How it ended: cause and action, as the agent named them."""

    cause: Label
    action: Label


class SensitiveAssignment(Part):
    """Who the member is, and what they noted."""

    member_name: Text | None = None
    member_email: Text | None = None
    note: Text | None = None


class AssignmentChangedV1(EventData):
    """One change of an assignment. `sequence` counts its changes from 1."""

    event_type: ClassVar[str] = "dev.closeloop.assignment.changed.v1"
    topic: ClassVar[Topic] = ASSIGNMENT_CHANGED

    assignment_id: UUID
    feedback_id: UUID
    sequence: Annotated[int, Field(ge=1)]
    change: AssignmentChange
    state: AssignmentState
    actor: Label = Field(description="`system`, or the member or key that did it.")
    team: Label | None = None
    member_id: Label | None = None
    customer_id: UUID | None = None
    channel: Label
    touchpoint: Label | None = None
    department: Label | None = None
    language: Label
    band: Band | None = None
    sentiment: Sentiment = "unknown"
    urgency: Urgency = "normal"
    issues: tuple[Issue, ...] = ()
    priority: Priority
    opened_at: AwareDatetime
    first_response_due_at: AwareDatetime | None = Field(default=None, description="None: no SLA.")
    first_response_at: AwareDatetime | None = None
    first_response_seconds: float | None = None
    resolved_at: AwareDatetime | None = None
    resolution: Resolution | None = None
    explanation: Explanation | None = None
    sensitive: SensitiveAssignment = SensitiveAssignment()

    @override
    def key(self) -> str:
        """The customer where known, else the feedback."""
        return str(self.customer_id or self.feedback_id)
