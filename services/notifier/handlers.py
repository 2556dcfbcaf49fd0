"""Events in: keep what plays need to know, then plan what they start."""

from collections.abc import Sequence
from typing import Any

from services.notifier import changes
from services.notifier.addresses import plain_email
from services.notifier.domain import Occasion
from services.notifier.plans import Planner
from services.notifier.repository import followups, knowledge
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.core.clock import rfc3339
from shared.db.unit_of_work import UnitOfWork

GROUP = "notifier"
# Changes of a case that may start plays; handed_over is an assignment to somebody new.
_TRIGGERS = {
    "assigned": "assigned",
    "handed_over": "assigned",
    "answered": "answered",
    "resolved": "resolved",
    "reopened": "reopened",
    "at_risk": "at_risk",
    "breached": "breached",
}
# These deserve a message each time; the others one per feedback.
_EACH_TIME = {"assigned", "handed_over", "at_risk", "breached"}


class Handlers:
    """The handler of the group `notifier`."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    async def handle(self, events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
        """One batch, of one topic or of several."""
        received = [event for event in events if isinstance(event.data, FeedbackReceivedV1)]
        routed = [event for event in events if isinstance(event.data, FeedbackRoutedV1)]
        assigned = [event for event in events if isinstance(event.data, AssignmentChangedV1)]
        occasions = await self._keep_feedback(received, uow)
        occasions += await self._keep_understanding(routed, uow)
        occasions += await self._keep_assignments(assigned, uow)
        occasions += [_alerted(event) for event in events if isinstance(event.data, ScoreAlertedV1)]
        await self._planner.plan(occasions, uow)

    async def _keep_feedback(self, events: list[Event[FeedbackReceivedV1]], uow: UnitOfWork) -> list[Occasion]:
        newest: dict[tuple[str, Any], Event[FeedbackReceivedV1]] = {}
        for event in events:
            key = (event.workspace, event.data.feedback_id)
            if key not in newest or newest[key].data.revision <= event.data.revision:
                newest[key] = event
        rows = [_feedback_row(event) for event in newest.values()]
        kept = await knowledge.keep_feedback(uow, rows)
        fresh = [event for key, event in newest.items() if key in kept]
        revised = [
            {
                "workspace": event.workspace,
                "feedback_id": str(event.data.feedback_id),
                "removed": event.data.removed,
                "band": event.data.band(),
            }
            for event in fresh
            if event.data.removed or event.data.revision
        ]
        changes.publish(uow, await followups.cancel_corrected(uow, revised))
        return [_received(event) for event in fresh if not event.data.removed]

    async def _keep_understanding(self, events: list[Event[FeedbackRoutedV1]], uow: UnitOfWork) -> list[Occasion]:
        newest: dict[tuple[str, Any], Event[FeedbackRoutedV1]] = {}
        for event in events:
            key = (event.workspace, event.data.feedback_id)
            if key not in newest or newest[key].data.revision <= event.data.revision:
                newest[key] = event
        await knowledge.keep_understanding(uow, [_understanding_row(event) for event in newest.values()])
        return [_routed(event) for event in newest.values() if not event.data.spam]

    async def _keep_assignments(self, events: list[Event[AssignmentChangedV1]], uow: UnitOfWork) -> list[Occasion]:
        newest: dict[tuple[str, Any], Event[AssignmentChangedV1]] = {}
        reopened: set[tuple[str, Any]] = set()
        for event in events:
            key = (event.workspace, event.data.feedback_id)
            if event.data.change == "reopened":
                reopened.add(key)
            elif event.data.change == "resolved":
                reopened.discard(key)
            if key not in newest or newest[key].data.sequence <= event.data.sequence:
                newest[key] = event
        await knowledge.keep_assignments(
            uow, [_assignment_row(event, reopened=key in reopened) for key, event in newest.items()]
        )
        return [_assignment(event) for event in events if event.data.change in _TRIGGERS]


def _feedback_row(event: Event[FeedbackReceivedV1]) -> dict[str, Any]:
    data = event.data
    gone = data.removed
    return {
        "workspace": event.workspace,
        "feedback_id": str(data.feedback_id),
        "revision": data.revision,
        "removed": gone,
        "kind": data.kind,
        "occurred_at": rfc3339(data.occurred_at),
        "channel": data.channel,
        "touchpoint": data.touchpoint,
        "department": data.department,
        "product": data.product,
        "segment": data.segment,
        "survey": data.survey.id if data.survey else None,
        "language": data.language,
        "band": data.band(),
        "customer_id": str(data.customer_id) if data.customer_id else None,
        "name": None if gone else data.sensitive.name,
        "email": None if gone else plain_email(data.sensitive.email),
    }


def _understanding_row(event: Event[FeedbackRoutedV1]) -> dict[str, Any]:
    data = event.data
    return {
        "workspace": event.workspace,
        "feedback_id": str(data.feedback_id),
        "revision": data.revision,
        "language": data.language,
        "sentiment": data.sentiment,
        "urgency": data.urgency,
        "department": data.department,
        "spam": data.spam,
    }


def _assignment_row(event: Event[AssignmentChangedV1], *, reopened: bool) -> dict[str, Any]:
    data = event.data
    return {
        "workspace": event.workspace,
        "feedback_id": str(data.feedback_id),
        "assignment_id": str(data.assignment_id),
        "sequence": data.sequence,
        "state": data.state,
        "reopened": reopened,
        "team": data.team,
        "priority": data.priority,
        "language": data.language,
        "department": data.department,
        "first_response_due_at": rfc3339(data.first_response_due_at) if data.first_response_due_at else None,
        "first_response_at": rfc3339(data.first_response_at) if data.first_response_at else None,
        "member_name": data.sensitive.member_name,
        "member_email": data.sensitive.member_email,
    }


def _received(event: Event[FeedbackReceivedV1]) -> Occasion:
    data = event.data
    return Occasion(
        workspace=event.workspace,
        trigger="feedback_received",
        event_id=event.id,
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        happened_at=data.occurred_at,
        feedback_id=data.feedback_id,
        customer_id=data.customer_id,
        band=data.band(),
        language=data.language,
        facts={
            "kind": data.kind,
            "band": data.band(),
            "touchpoint": data.touchpoint,
            "department": data.department,
            "channel": data.channel,
            "product": data.product,
            "segment": data.segment,
            "language": data.language,
            "survey": data.survey.id if data.survey else None,
        },
    )


def _routed(event: Event[FeedbackRoutedV1]) -> Occasion:
    data = event.data
    language = None if data.language == "und" else data.language
    return Occasion(
        workspace=event.workspace,
        trigger="feedback_routed",
        event_id=event.id,
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        happened_at=data.occurred_at,
        feedback_id=data.feedback_id,
        assignment_id=data.assignment_id,
        customer_id=data.customer_id,
        band=data.band,
        language=language,
        facts={
            "band": data.band,
            "sentiment": data.sentiment,
            "urgency": data.urgency,
            "touchpoint": data.touchpoint,
            "department": data.department,
            "channel": data.channel,
            "product": data.product,
            "segment": data.segment,
            "language": language,
        },
    )


def _assignment(event: Event[AssignmentChangedV1]) -> Occasion:
    data = event.data
    return Occasion(
        workspace=event.workspace,
        trigger=_TRIGGERS[data.change],
        event_id=event.id,
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        happened_at=event.time,
        feedback_id=data.feedback_id,
        assignment_id=data.assignment_id,
        customer_id=data.customer_id,
        band=data.band,
        language=None if data.language == "und" else data.language,
        member_email=data.sensitive.member_email,
        occurrence=f"{data.assignment_id}/{data.sequence}" if data.change in _EACH_TIME else "",
        facts={
            "band": data.band,
            "sentiment": data.sentiment,
            "urgency": data.urgency,
            "priority": data.priority,
            "touchpoint": data.touchpoint,
            "department": data.department,
            "channel": data.channel,
            "language": data.language,
            "team": data.team,
        },
    )


def _alerted(event: Event[ScoreAlertedV1]) -> Occasion:
    data = event.data
    return Occasion(
        workspace=event.workspace,
        trigger="score_alerted",
        event_id=event.id,
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        happened_at=data.as_of,
        # An alert is about a series; the feedback it began with stands for it in what is published.
        feedback_id=event.correlation_id,
        occurrence=f"{data.alert_id}/{data.state}",
        facts={
            "alert": data.kind,
            "alert_state": data.state,
            "score_name": data.series.name(),
            "score_value": _number(data.value),
            "score_before": _number(data.previous_value),
            "score_count": str(data.n),
            "score_target": _number(data.target),
            "score_contributors": "\n".join(
                f"{', '.join(f'{k}: {v}' for k, v in sorted(one.dimensions.items()))} ({one.points:+.1f})"
                for one in data.contributors[:5]
            ),
        },
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
