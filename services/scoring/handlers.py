"""What scoring does with events."""

from collections.abc import Sequence

from services.scoring.intake import Intake
from services.scoring.repository import care
from services.scoring.service import ScoringService
from shared.bus import codec
from shared.bus.port import Record
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.envelope import Event
from shared.contracts.topics import ASSIGNMENT_CHANGED, FEEDBACK_RECEIVED, FEEDBACK_ROUTED, INVITATION_CHANGED
from shared.core.errors import BadRecord
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.consumer import Subscription

GROUP = "scoring"


def subscription(service: ScoringService, max_batch: int) -> Subscription:
    """Feedback, what routing understood of it, and invitations, into blocks of answers; and how assignments stand. A
    repeat is known by its revision or sequence, so no event id is kept."""
    intake = Intake()

    async def take(records: Sequence[Record], uow: UnitOfWork) -> None:
        if records[0].topic == ASSIGNMENT_CHANGED.name:  # a batch is of one topic
            await care.keep(uow, [_change(record) for record in records])
        else:
            await service.take(intake.read(records), uow)

    topics = (FEEDBACK_RECEIVED, INVITATION_CHANGED, FEEDBACK_ROUTED, ASSIGNMENT_CHANGED)
    return Subscription(group=GROUP, topics=topics, handle=take, max_batch=max_batch, pace_seconds=0.03, raw=True)


def _change(record: Record) -> Event[AssignmentChangedV1]:
    event = codec.decode(record)
    if not isinstance(event.data, AssignmentChangedV1):
        raise BadRecord(f"{event.type} is no change of an assignment")
    return event
