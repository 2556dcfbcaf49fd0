"""What scoring does with events."""

from collections.abc import Sequence

from services.scoring.intake import Intake
from services.scoring.service import ScoringService
from shared.bus.port import Record
from shared.contracts.topics import FEEDBACK_RECEIVED, FEEDBACK_ROUTED
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.consumer import Subscription

GROUP = "scoring"


def subscription(service: ScoringService, max_batch: int) -> Subscription:
    """Feedback, and what routing understood of it, into blocks of answers. A repeat is known by the version of its
    feedback, so no event id is kept."""
    intake = Intake()

    async def take(records: Sequence[Record], uow: UnitOfWork) -> None:
        await service.take(intake.read(records), uow)

    topics = (FEEDBACK_RECEIVED, FEEDBACK_ROUTED)
    return Subscription(group=GROUP, topics=topics, handle=take, max_batch=max_batch, pace_seconds=0.03, raw=True)
