"""`invitation.changed.v1`: what became of an invitation to a survey. Response rates are made of these."""

from typing import ClassVar, Literal, get_args
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label
from shared.contracts.feedback_received import Survey
from shared.contracts.topics import INVITATION_CHANGED, Topic

InvitationStatus = Literal["suppressed", "delivered", "bounced", "completed"]
# From what is known first to what is known last: of several statuses of an invitation the furthest counts.
STATUSES: tuple[InvitationStatus, ...] = get_args(InvitationStatus)


class InvitationChangedV1(EventData):
    """One status of one invitation. The furthest one counts, in whatever order they come: suppressed, delivered,
    bounced, completed."""

    event_type: ClassVar[str] = "dev.closeloop.invitation.changed.v1"
    topic: ClassVar[Topic] = INVITATION_CHANGED

    invitation_id: UUID
    status: InvitationStatus = Field(
        description="suppressed: not sent, by a rule or the wish of the customer; delivered: sent, and not known to "
        "have failed; bounced: it did not arrive; completed: the survey was answered."
    )
    invited_at: AwareDatetime
    received_at: AwareDatetime
    source: Label
    connector: Label
    channel: Label
    survey: Survey
    touchpoint: Label | None = None
    department: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    customer_id: UUID | None = Field(
        default=None, description="Pseudonym: the same person in a workspace has the same id."
    )

    @override
    def key(self) -> str:
        """The customer where known, else the invitation."""
        return str(self.customer_id or self.invitation_id)
