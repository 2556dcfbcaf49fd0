"""`followup.changed.v1`: one message of a play to a customer or to our own people, from planned to its outcome."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part, Text
from shared.contracts.feedback_received import Band
from shared.contracts.topics import FOLLOWUP_CHANGED, Topic

FollowupState = Literal["planned", "sending", "sent", "failed", "unknown", "cancelled", "suppressed"]
Transport = Literal["email", "slack", "webhook"]
Audience = Literal["customer", "agent", "manager"]


class SensitiveFollowup(Part):
    """Where it goes."""

    recipient: Text | None = None


class FollowupChangedV1(EventData):
    """`unknown` means: the call ended without an answer, so it may have arrived;
    it is shown, never silently repeated."""

    event_type: ClassVar[str] = "dev.closeloop.followup.changed.v1"
    topic: ClassVar[Topic] = FOLLOWUP_CHANGED

    followup_id: UUID
    play: Label
    step: Label
    audience: Audience
    transport: Transport
    state: FollowupState
    attempt: Annotated[int, Field(ge=0)] = 0
    due_at: AwareDatetime
    changed_at: AwareDatetime
    reason: Text | None = Field(
        default=None,
        description="Why it failed, was cancelled or suppressed, in our words: never what the other side answered.",
    )
    template: Label | None = None
    language: Label = "en"
    band: Band | None = None
    feedback_id: UUID
    assignment_id: UUID | None = None
    customer_id: UUID | None = None
    sensitive: SensitiveFollowup = SensitiveFollowup()

    @override
    def key(self) -> str:
        """The customer where known, else the feedback."""
        return str(self.customer_id or self.feedback_id)
