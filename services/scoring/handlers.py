"""What scoring does with events and timers."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.scoring.service import TICK, ScoringService
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.consumer import Subscription
from shared.runtime.timers import Timer, TimerHandler

GROUP = "scoring"


def subscription(service: ScoringService, max_batch: int = 1000) -> Subscription:
    """Feedback into answers and sums."""

    async def score_feedback(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        await service.count(events, uow)

    return Subscription(
        group=GROUP, topics=(FEEDBACK_RECEIVED,), handle=score_feedback, max_batch=max_batch, pace_seconds=0.03
    )


def timers(service: ScoringService) -> Mapping[str, TimerHandler]:
    """The hour, per workspace."""

    async def move_windows(due: Sequence[Timer], uow: UnitOfWork) -> None:
        for timer in sorted(due, key=lambda timer: timer.workspace):
            await service.tick(timer.workspace, timer.payload, uow)

    return {TICK: move_windows}
