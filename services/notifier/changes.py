"""From a follow-up's row to the event that tells of its change."""

from dataclasses import replace
from typing import Any

from services.notifier.domain import change_id
from shared.contracts.envelope import Event, started_here
from shared.contracts.followup_changed import FollowupChangedV1, SensitiveFollowup
from shared.db.unit_of_work import UnitOfWork


def publish(uow: UnitOfWork, rows: Any) -> None:
    """Publish followup.changed.v1 for rows as they stand after their change."""
    for row in rows:
        uow.publish(changed(row))


def changed(row: Any) -> Event[FollowupChangedV1]:
    """The event of a row's last change; the same change gives the same id again."""
    data = FollowupChangedV1(
        followup_id=row.id,
        play=row.play,
        step=row.step,
        audience=row.audience,
        transport=row.transport,
        state=row.state,
        attempt=row.attempts,
        due_at=row.due_at,
        changed_at=row.changed_at,
        reason=row.reason,
        template=row.template,
        language=row.language,
        band=row.band,
        feedback_id=row.feedback_id,
        assignment_id=row.assignment_id,
        customer_id=row.customer_id,
        sensitive=SensitiveFollowup(recipient=row.recipient),
    )
    event = started_here(
        row.workspace, data, correlation_id=row.correlation_id, event_id=change_id(row.id, row.changes)
    )
    return replace(event, causation_id=row.causation_id, traceparent=row.traceparent)
