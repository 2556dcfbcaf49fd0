"""Event types by name: the one list that decoding, schemas, AsyncAPI, `closeloop tail` and the tests go by."""

from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.customer_purchased import CustomerPurchasedV1
from shared.contracts.envelope import EventData
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.contracts.followup_changed import FollowupChangedV1
from shared.contracts.invitation_changed import InvitationChangedV1
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.contracts.score_updated import ScoreUpdatedV1

EVENTS: tuple[type[EventData], ...] = (
    FeedbackReceivedV1,
    InvitationChangedV1,
    CustomerPurchasedV1,
    FeedbackRoutedV1,
    AssignmentChangedV1,
    ScoreUpdatedV1,
    ScoreAlertedV1,
    FollowupChangedV1,
)
BY_TYPE: dict[str, type[EventData]] = {event.event_type: event for event in EVENTS}
