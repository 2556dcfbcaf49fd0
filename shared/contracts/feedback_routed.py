"""`feedback.routed.v1`: what routing understood of one feedback. Tags only; the text stays in feedback.received.v1."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part, Text
from shared.contracts.feedback_received import Band, Revision, Survey
from shared.contracts.tags import Department, Issue, Sentiment, Urgency, UrgencyReason
from shared.contracts.topics import FEEDBACK_ROUTED, Topic

Confidence = Annotated[float, Field(ge=0, le=1)]
# The `understanding_version` of what had no words to understand.
NO_WORDS = "no-words"


class IssueTag(Part):
    """One issue the message raises."""

    issue: Issue
    confidence: Confidence


class FeedbackRoutedV1(EventData):
    """The tags of one revision of a feedback, each with the confidence of what produced it
    (`understanding_version`)."""

    event_type: ClassVar[str] = "dev.closeloop.feedback.routed.v1"
    topic: ClassVar[Topic] = FEEDBACK_ROUTED

    feedback_id: UUID
    revision: Revision
    customer_id: UUID | None = None
    occurred_at: AwareDatetime
    received_at: AwareDatetime | None = None
    channel: Label
    touchpoint: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    survey: Survey | None = None
    source_department: Label | None = Field(
        default=None, description="The department that the source names; `department` is the one understood."
    )
    band: Band | None = None
    language: Annotated[str, Field(pattern=r"^([a-z]{2}|und)$")]
    language_confidence: Confidence
    sentiment: Sentiment
    sentiment_score: Annotated[float, Field(ge=-1, le=1)]
    sentiment_confidence: Confidence
    department: Department
    department_confidence: Confidence
    issues: tuple[IssueTag, ...] = ()
    urgency: Urgency
    urgency_reason: UrgencyReason | None = None
    actionable: bool
    spam: bool
    spam_score: Confidence
    spam_reason: Text | None = None
    understanding_version: Label
    assignment_id: UUID | None = Field(
        default=None, description="The assignment opened for it; None where none is needed."
    )

    @override
    def key(self) -> str:
        """The customer where known, else the feedback."""
        return str(self.customer_id or self.feedback_id)
