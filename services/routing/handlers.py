"""What routing does with events and timers."""

from collections.abc import Mapping

from services.routing.repository.assignments import SLA_TIMER
from services.routing.service.changes import GROUP
from services.routing.service.clocks import Clocks
from services.routing.service.intake import Intake
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.runtime.consumer import Subscription
from shared.runtime.timers import TimerHandler


def subscription(intake: Intake) -> Subscription:
    """feedback.received.v1 → tags and assignments."""
    return Subscription(group=GROUP, topics=(FEEDBACK_RECEIVED,), handle=intake.handle, prepare=intake.prepare)


def timers(clocks: Clocks) -> Mapping[str, TimerHandler]:
    """The first-response clock."""
    return {SLA_TIMER: clocks.fire}
