"""The one way in which an assignment changes: row, history, event and SLA timer together."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.routing.domain.assignment import SYSTEM, Assignment, Change
from services.routing.domain.roster import Roster
from services.routing.domain.selection import Choice, Desk
from services.routing.repository import assignments, crew
from services.routing.repository.assignments import Clock
from shared.contracts.assignment_changed import (
    AssignmentChange,
    AssignmentChangedV1,
    Explanation,
    Resolution,
    SensitiveAssignment,
)
from shared.contracts.envelope import Event, caused_by, started_here
from shared.core.ids import caused_event_id
from shared.db.unit_of_work import UnitOfWork

GROUP = "routing"
Cause = Event[Any] | None


@dataclass(slots=True)
class Ledger:
    """Changes of one workspace in one transaction, in order; `settle` writes and publishes them."""

    workspace: str
    roster: Roster
    changes: list[tuple[Change, Cause]] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)

    def add(
        self,
        after: Assignment,
        change: AssignmentChange,
        actor: str,
        at: datetime,
        *,
        explanation: Explanation | None = None,
        note: str | None = None,
        cause: Cause = None,
    ) -> Assignment:
        """Note one change; returns the assignment with its new sequence number."""
        counted = replace(after, sequence=after.sequence + 1)
        self.changes.append((Change(counted, change, actor, at, explanation, note), cause))
        return counted

    def place(
        self,
        before: Assignment,
        choice: Choice,
        change: AssignmentChange,
        desk: Desk,
        *,
        actor: str = SYSTEM,
        **more: Any,
    ) -> Assignment:
        """Give it to the chosen member, or put it into the queue, and keep `desk` true."""
        after = placed(before, choice, desk)
        return self.add(after, change, actor, desk.now, explanation=choice.explanation, **more)

    async def settle(self, uow: UnitOfWork) -> None:
        """Write everything; publish in order."""
        if not self.changes and not self.clocks:
            return
        await assignments.write(uow, [change for change, _ in self.changes])
        await assignments.schedule(uow, self.clocks)
        await self._note_members(uow)
        counts: dict[Any, int] = {}
        for change, cause in self.changes:
            number = counts.get(cause.id, 0) if cause else 0
            if cause:
                counts[cause.id] = number + 1
            uow.publish(_event(change, self.roster, cause, number))
        self.changes, self.clocks = [], []

    async def _note_members(self, uow: UnitOfWork) -> None:
        held = [c for c, _ in self.changes if c.after.member_id and c.change in _WORKING]
        if not held:
            return
        moment = held[-1].at
        agents = {c.after.customer_id: c.after.member_id for c in held if c.after.customer_id and c.after.member_id}
        await crew.note_agents(uow, self.workspace, agents, moment)
        new = [c.after.member_id for c in held if c.after.member_id and c.after.state == "assigned"]
        await crew.note_assigned(uow, self.workspace, new, moment)


_WORKING = {"assigned", "taken", "answered", "handed_over", "reopened"}


def placed(before: Assignment, choice: Choice, desk: Desk) -> Assignment:
    """`before` in the hands of the chosen member, or in the queue."""
    if before.member_id and before.state in ("assigned", "taken"):
        desk.release(before.member_id)
    if choice.member is None:
        return replace(before, state="queued", member_id=None, team=choice.team, queued_at=desk.now, assigned_at=None)
    desk.place(choice.member.id)
    return replace(
        before, state="assigned", member_id=choice.member.id, team=choice.team, queued_at=None, assigned_at=desk.now
    )


def start_clock(before: Assignment, roster: Roster, now: datetime) -> tuple[Assignment, Clock | None]:
    """Start the first-response clock by the workspace's policy."""
    clock = roster.sla.clock(before.priority, now) if roster.sla else None
    if clock is None:
        return replace(before, first_response_due_at=None, clock_due_at=None), None
    at_risk, due = clock
    after = replace(before, first_response_due_at=due, clock_due_at=due, at_risk_at=None, breached_at=None)
    return after, Clock(before.workspace, before.id, "at_risk", at_risk)


def running_clock(current: Assignment, roster: Roster) -> Clock | None:
    """The timer that a running clock needs, where it was cancelled while the assignment was looked at."""
    if current.clock_due_at is None or current.breached_at is not None:
        return None
    if current.at_risk_at is not None:
        return Clock(current.workspace, current.id, "breached", current.clock_due_at)
    started = current.opened_at
    clock = roster.sla.clock(current.priority, started) if roster.sla else None
    at_risk = clock[0] if clock and clock[1] == current.clock_due_at else None
    share = roster.sla.at_risk_share if roster.sla else 0.8
    return Clock(
        current.workspace, current.id, "at_risk", at_risk or started + (current.clock_due_at - started) * share
    )


def stop_clock(before: Assignment) -> Assignment:
    """The clock no longer runs; what it showed stays."""
    return replace(before, clock_due_at=None)


def resolved(before: Assignment, actor: str, at: datetime, cause: str, action: str) -> Assignment:
    """Closed, with cause and action."""
    return replace(
        stop_clock(before),
        state="resolved",
        resolved_at=at,
        resolved_by=actor,
        cause=cause,
        action=action,
        queued_at=None,
    )


def _event(change: Change, roster: Roster, cause: Cause, number: int) -> Event[AssignmentChangedV1]:
    after = change.after
    member = roster.member(after.member_id) if after.member_id else None
    resolution = Resolution(cause=after.cause, action=after.action) if after.cause and after.action else None
    data = AssignmentChangedV1(
        assignment_id=after.id,
        feedback_id=after.feedback_id,
        sequence=after.sequence,
        change=change.change,
        state=after.state,
        actor=change.actor,
        team=after.team,
        member_id=after.member_id,
        customer_id=after.customer_id,
        channel=after.channel,
        touchpoint=after.touchpoint,
        department=after.department,
        language=after.language,
        band=after.band,
        sentiment=after.sentiment,
        urgency=after.urgency,
        issues=after.issues,
        priority=after.priority,
        opened_at=after.opened_at,
        first_response_due_at=after.first_response_due_at,
        first_response_at=after.first_response_at,
        first_response_seconds=after.first_response_seconds,
        resolved_at=after.resolved_at,
        resolution=resolution,
        explanation=change.explanation,
        sensitive=SensitiveAssignment(
            member_name=member.name if member else None, member_email=member.email if member else None, note=change.note
        ),
    )
    if cause is not None:
        return caused_by(cause, data, group=GROUP, n=number)
    event_id = caused_event_id(GROUP, after.id, data.event_type, after.sequence)
    return started_here(after.workspace, data, correlation_id=after.correlation_id, event_id=event_id)
