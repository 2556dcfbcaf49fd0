"""Feedback comes in: tags, and an assignment where somebody has to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from services.routing.domain import priority
from services.routing.domain.assignment import SYSTEM, Assignment, assignment_id
from services.routing.domain.need import needs_answer
from services.routing.domain.roster import Roster
from services.routing.domain.selection import Desk, choose
from services.routing.repository import assignments, crew
from services.routing.repository import feedback as stored_feedback
from services.routing.service.changes import (
    GROUP,
    Ledger,
    placed,
    resolved,
    running_clock,
    start_clock,
)
from services.routing.service.crew import Rosters
from services.routing.service.waiting import Rules, drain, want_of
from services.routing.understanding.port import Message, Understander, Understanding
from shared.contracts.assignment_changed import AssignmentChange, Term
from shared.contracts.envelope import Event, caused_by
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import NO_WORDS, FeedbackRoutedV1, IssueTag
from shared.db.unit_of_work import UnitOfWork

Received = Event[FeedbackReceivedV1]


def understand(understander: Understander, events: Sequence[Received]) -> dict[UUID, Understanding]:
    """Event id → its understanding. CPU work: run it before the transaction opens."""
    worded = [event for event in events if not event.data.removed and _words(event.data)]
    found = understander.understand(
        [Message(_words(event.data), event.data.language, event.data.public) for event in worded]
    )
    known = {event.id: understanding for event, understanding in zip(worded, found, strict=True)}
    return {event.id: known.get(event.id) or wordless(event.data) for event in events}


def _words(data: FeedbackReceivedV1) -> str:
    return "\n".join(part.strip() for part in (data.sensitive.title, data.sensitive.text) if part and part.strip())


def wordless(data: FeedbackReceivedV1) -> Understanding:
    """Tags of an answer without words: the language is what the source says, the sentiment is unknown. A rating
    stands beside the tags anyway (`band`); to read a mood out of it would be a guess, and would count it twice."""
    return Understanding(
        language=data.language or "und",
        language_confidence=1.0 if data.language else 0.0,
        sentiment="unknown",
        sentiment_score=0.0,
        sentiment_confidence=0.0,
        department="none",
        department_confidence=0.0,
        issues=(),
        urgency="normal",
        urgency_reason=None,
        actionable=False,
        spam=False,
        spam_score=0.0,
        spam_reason=None,
        version=NO_WORDS,
    )


@dataclass(slots=True)
class _Opening:
    """An assignment that waits for its first choice, at the end of the batch."""

    assignment: Assignment
    event: Received
    change: AssignmentChange | None  # None: `assigned` or `queued`, whatever comes of it


class Intake:
    """Handles `feedback.received.v1`."""

    def __init__(
        self, understander: Understander, rosters: Rosters, rules: Rules, *, history_after_seconds: float
    ) -> None:
        self._understander = understander
        self._rosters = rosters
        self._rules = rules
        self._history_after_seconds = history_after_seconds
        self._prepared: Mapping[UUID, Understanding] = {}

    def prepare(self, events: Sequence[Received]) -> None:
        """Understand a batch before its transaction opens; what the last batch left is dropped."""
        self._prepared = understand(self._understander, events)

    async def handle(self, events: Sequence[Received], uow: UnitOfWork) -> None:
        """Route a batch."""
        understood = {event.id: self._prepared[event.id] for event in events if event.id in self._prepared}
        understood |= understand(self._understander, [event for event in events if event.id not in understood])
        workspaces = sorted({event.workspace for event in events})
        # All timers first, then the locks: a firing timer holds its row while it waits for a lock.
        for workspace in workspaces:
            ids = [event.data.feedback_id for event in events if event.workspace == workspace]
            known = await assignments.ids_of_feedback(uow, workspace, ids)
            await assignments.cancel(uow, workspace, known)
        for workspace in workspaces:
            for batch in _apart([event for event in events if event.workspace == workspace]):
                await self._route(uow, workspace, batch, understood)

    async def _route(
        self, uow: UnitOfWork, workspace: str, events: Sequence[Received], understood: Mapping[UUID, Understanding]
    ) -> None:
        """One workspace, each feedback at most once."""
        ids = [event.data.feedback_id for event in events]
        await crew.lock(uow, workspace)
        roster = await self._rosters.current(uow, workspace)
        desk = await crew.desk(uow, workspace)
        revisions = await stored_feedback.revisions(uow, workspace, ids)
        existing = await assignments.of_feedback(uow, workspace, ids)
        await stored_feedback.store(uow, events)
        batch = _Batch(workspace, roster, desk, self._history_after_seconds)
        for event in events:
            newest = event.data.revision > revisions.get(event.data.feedback_id, -1)
            batch.take_in(event, understood[event.id], existing.get(event.data.feedback_id), newest)
        routed = [
            caused_by(
                event,
                _routed(event.data, understood[event.id], batch.assigned.get(event.data.feedback_id)),
                group=GROUP,
            )
            for event in events
            if not event.data.removed
        ]
        await stored_feedback.store_tags(uow, workspace, [event.data for event in routed])
        for published in routed:
            uow.publish(published)
        await assignments.save(uow, batch.retagged)
        await assignments.cancel(uow, workspace, batch.closed)
        await self._place(uow, batch)
        await batch.ledger.settle(uow)
        if batch.released:
            await drain(uow, batch.ledger, desk, self._rules)

    async def _place(self, uow: UnitOfWork, batch: "_Batch") -> None:
        """Choose for what the batch opened: priority first, then in the order of arrival."""
        order = sorted(batch.openings, key=lambda opening: priority.PRIORITIES.index(opening.assignment.priority))
        customers = [opening.assignment.customer_id for opening in order if opening.assignment.customer_id]
        agents = await crew.last_agents(uow, batch.workspace, customers)
        for opening in order:
            customer = opening.assignment.customer_id
            want = want_of(opening.assignment, batch.roster, last_agent=agents.get(customer) if customer else None)
            terms = opening.assignment.priority_terms
            choice = choose(batch.roster, batch.desk, want, terms, sticky_seconds=self._rules.sticky_seconds)
            after = placed(opening.assignment, choice, batch.desk)
            if customer and choice.member:
                agents[customer] = (choice.member.id, batch.desk.now)
            change: AssignmentChange = opening.change or ("assigned" if choice.member else "queued")
            batch.ledger.add(after, change, SYSTEM, batch.desk.now, explanation=choice.explanation, cause=opening.event)


class _Batch:
    """Decides, event by event, what happens to the assignment."""

    def __init__(self, workspace: str, roster: Roster, desk: Desk, history_after_seconds: float) -> None:
        self.workspace = workspace
        self.roster = roster
        self.desk = desk
        self.ledger = Ledger(workspace, roster)
        self.openings: list[_Opening] = []
        self.retagged: list[Assignment] = []
        self.assigned: dict[UUID, UUID] = {}
        self.closed: list[UUID] = []
        self.released = False
        self._history_after_seconds = history_after_seconds

    def take_in(self, event: Received, tags: Understanding, current: Assignment | None, newest: bool) -> None:
        """Open, reopen, close, or keep with new tags."""
        data = event.data
        if current is not None:
            self.assigned[data.feedback_id] = current.id
        if not newest:
            self._keep(current)
            return
        needed = needs_answer(
            data, actionable=tags.actionable, spam=tags.spam, history_after_seconds=self._history_after_seconds
        )
        if current is None:
            if needed:
                self._open(event, tags)
        elif needed and not current.is_open and current.resolved_by == SYSTEM:
            self._reopen(event, tags, current)
        elif data.removed and current.is_open:
            self._close(event, current, "removed", "the customer took it back")
        elif not needed and current.state in ("queued", "assigned") and not data.removed:
            self._close(event, current, "no_answer_needed", "a later revision asks for none")
        elif current.is_open and not data.removed:
            changed = replace(current, **self._tagged(data, tags))
            self.retagged.append(changed)
            self._keep(changed)
        else:
            self._keep(current)

    def _open(self, event: Received, tags: Understanding) -> None:
        data = event.data
        identifier = assignment_id(self.workspace, data.feedback_id)
        fresh = Assignment(
            workspace=self.workspace,
            id=identifier,
            feedback_id=data.feedback_id,
            correlation_id=event.correlation_id,
            state="queued",
            sequence=0,
            team=None,
            member_id=None,
            customer_id=data.customer_id,
            opened_at=self.desk.now,
            queued_at=None,
            assigned_at=None,
            first_response_due_at=None,
            clock_due_at=None,
            at_risk_at=None,
            breached_at=None,
            first_response_at=None,
            first_response_seconds=None,
            resolved_at=None,
            resolved_by=None,
            cause=None,
            action=None,
            **self._tagged(data, tags),
        )
        self.assigned[data.feedback_id] = identifier
        self._start(fresh, event, None)

    def _reopen(self, event: Received, tags: Understanding, current: Assignment) -> None:
        again = replace(
            current,
            **self._tagged(event.data, tags),
            state="queued",
            team=None,
            member_id=None,
            resolved_at=None,
            resolved_by=None,
            cause=None,
            action=None,
        )
        if again.first_response_at is None:
            self._start(replace(again, opened_at=self.desk.now), event, "reopened")
        else:
            self.openings.append(_Opening(again, event, "reopened"))

    def _start(self, opened: Assignment, event: Received, change: AssignmentChange | None) -> None:
        started, clock = start_clock(opened, self.roster, self.desk.now)
        self.openings.append(_Opening(started, event, change))
        if clock is not None:
            self.ledger.clocks.append(clock)

    def _close(self, event: Received, current: Assignment, cause: str, action: str) -> None:
        if current.member_id and current.state in ("assigned", "taken"):
            self.desk.release(current.member_id)
            self.released = True
        self.closed.append(current.id)
        after = resolved(current, SYSTEM, self.desk.now, cause, action)
        self.ledger.add(after, "resolved", SYSTEM, self.desk.now, cause=event)

    def _keep(self, current: Assignment | None) -> None:
        """Its timer was cancelled before we looked: set it again."""
        clock = running_clock(current, self.roster) if current is not None else None
        if clock is not None:
            self.ledger.clocks.append(clock)

    def _tagged(self, data: FeedbackReceivedV1, tags: Understanding) -> dict[str, Any]:
        terms: tuple[Term, ...] = priority.terms(
            data,
            sentiment=tags.sentiment,
            urgency=tags.urgency,
            urgency_reason=tags.urgency_reason,
            actionable=tags.actionable,
            segments=self.roster.segments,
        )
        return {
            "channel": data.channel,
            "touchpoint": data.touchpoint,
            "department": data.department or (tags.department if tags.department != "none" else None),
            "tagged_department": tags.department,
            "product": data.product,
            "segment": data.segment,
            "language": tags.language,
            "band": data.band(),
            "sentiment": tags.sentiment,
            "urgency": tags.urgency,
            "issues": tuple(issue for issue, _ in tags.issues),
            "priority": priority.level(priority.total(terms)),
            "priority_terms": terms,
            "public": data.public,
        }


def _apart(events: Sequence[Received]) -> list[list[Received]]:
    """Runs of events in which no feedback comes twice."""
    runs: list[list[Received]] = [[]]
    seen: set[UUID] = set()
    for event in events:
        if event.data.feedback_id in seen:
            runs.append([])
            seen = set()
        runs[-1].append(event)
        seen.add(event.data.feedback_id)
    return runs


def _routed(data: FeedbackReceivedV1, tags: Understanding, assignment: UUID | None) -> FeedbackRoutedV1:
    return FeedbackRoutedV1(
        feedback_id=data.feedback_id,
        revision=data.revision,
        customer_id=data.customer_id,
        occurred_at=data.occurred_at,
        received_at=data.received_at,
        channel=data.channel,
        touchpoint=data.touchpoint,
        product=data.product,
        segment=data.segment,
        survey=data.survey,
        source_department=data.department,
        band=data.band(),
        language=tags.language,
        language_confidence=tags.language_confidence,
        sentiment=tags.sentiment,
        sentiment_score=tags.sentiment_score,
        sentiment_confidence=tags.sentiment_confidence,
        department=tags.department,
        department_confidence=tags.department_confidence,
        issues=tuple(IssueTag(issue=issue, confidence=confidence) for issue, confidence in tags.issues),
        urgency=tags.urgency,
        urgency_reason=tags.urgency_reason,
        actionable=tags.actionable,
        spam=tags.spam,
        spam_score=tags.spam_score,
        spam_reason=tags.spam_reason,
        understanding_version=tags.version,
        assignment_id=assignment,
    )
