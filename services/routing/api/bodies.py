"""What the routes take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from services.routing.domain.assignment import Assignment
from services.routing.service.inbox import Case, Page
from services.routing.team_document import MemberWritten, TeamDocument
from shared.contracts.assignment_changed import (
    AssignmentChange,
    AssignmentState,
    Explanation,
    Priority,
    Resolution,
    Term,
)
from shared.contracts.envelope import Label, Text
from shared.contracts.feedback_received import Band, Rating
from shared.contracts.tags import Department, Issue, Sentiment, Urgency, UrgencyReason

_EXCERPT = 280
Clock = Literal["running", "at_risk", "breached", "stopped", "none"]
Note = Annotated[Text, StringConstraints(min_length=1, max_length=10_000)]


class Body(BaseModel):
    """A request body: an unknown field is refused."""

    model_config = ConfigDict(extra="forbid")


class Act(Body):
    """`member` is who acts (left out: the member called like the API key); `sequence` refuses a stale view."""

    member: Label | None = Field(default=None, examples=["m-deniz"])
    sequence: int | None = Field(default=None, ge=1, description="The sequence you saw; 409 when it has changed.")


class Answer(Act):
    """The reply was given; `note` is what the agent wants remembered of it."""

    note: Note | None = None


class HandOver(Act):
    """To a member or to a team; to neither: whoever fits best."""

    to_member: Label | None = None
    to_team: Label | None = None
    reason: Note = Field(examples=["She asked for somebody who speaks Turkish."])


class Resolve(Act):
    """How it ended."""

    cause: Label = Field(examples=["carrier_delay"])
    action: Label = Field(examples=["replacement_sent"])
    note: Note | None = None


class Reopen(Act):
    """Why it is opened again."""

    reason: Note


class PresenceBody(Body):
    """Away or back."""

    away: bool
    until: AwareDatetime | None = Field(default=None, description="Back by themselves at this time.")
    hand_over_taken: bool = Field(
        default=False, description="Also hand over what the member has taken; untaken work is handed over anyway."
    )


class AssignmentOut(BaseModel):
    """One assignment as it stands, with the first words of the feedback."""

    id: UUID
    feedback_id: UUID
    state: AssignmentState
    sequence: int
    team: str | None
    member: str | None
    priority: Priority
    priority_terms: tuple[Term, ...]
    channel: str
    touchpoint: str | None
    department: str | None
    product: str | None
    segment: str | None
    language: str
    band: Band | None
    sentiment: Sentiment
    urgency: Urgency
    issues: tuple[Issue, ...]
    public: bool
    customer_id: UUID | None
    customer_name: str | None = None
    excerpt: str | None = None
    opened_at: datetime
    assigned_at: datetime | None
    clock: Clock
    first_response_due_at: datetime | None
    first_response_left_seconds: float | None = Field(description="Negative when overdue; null when no clock runs.")
    first_response_at: datetime | None
    first_response_seconds: float | None
    resolved_at: datetime | None
    resolution: Resolution | None


class PageOut(BaseModel):
    """A page; give `next` as `cursor` for the following one."""

    items: list[AssignmentOut]
    next: str | None = None


class ChangeOut(BaseModel):
    """One line of history."""

    sequence: int
    change: AssignmentChange
    state: AssignmentState
    actor: str
    at: datetime
    team: str | None
    member: str | None
    priority: Priority
    explanation: Explanation | None
    note: str | None
    resolution: Resolution | None


class IssueOut(BaseModel):
    """One issue of a message."""

    issue: Issue
    confidence: float


class TagsOut(BaseModel):
    """What was understood of one revision."""

    revision: int
    language: str
    language_confidence: float
    sentiment: Sentiment
    sentiment_score: float
    sentiment_confidence: float
    department: Department
    department_confidence: float
    issues: list[IssueOut]
    urgency: Urgency
    urgency_reason: UrgencyReason | None
    actionable: bool
    spam: bool
    spam_score: float
    spam_reason: str | None
    understanding_version: str


class CustomerOut(BaseModel):
    """Who said it, as far as the source told."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None
    handle: str | None = None
    identity: str | None = None


class FeedbackOut(BaseModel):
    """What was said, in its latest revision."""

    revision: int
    removed: bool
    kind: str
    occurred_at: datetime
    received_at: datetime
    source: str
    ratings: list[Rating] = []
    title: str | None = None
    text: str | None = None
    url: str | None = None
    thread_id: str | None = None
    customer: CustomerOut


class CaseOut(AssignmentOut):
    """An assignment with everything an agent needs to answer."""

    feedback: FeedbackOut | None
    tags: TagsOut | None
    history: list[ChangeOut]


class TeamsOut(BaseModel):
    """The team document in force."""

    version: int
    changed_by: str
    changed_at: datetime
    document: TeamDocument


class TeamsPut(BaseModel):
    """What was put in force."""

    version: int | None = Field(description="The new version; null where a reload found nothing new.")


class MemberOut(MemberWritten):
    """A member with what they hold and whether they are there."""

    model_config = ConfigDict(extra="ignore")

    open: int
    away: bool
    away_until: datetime | None = None


class MembersOut(BaseModel):
    """All members."""

    items: list[MemberOut]


def tags_out(row: Any) -> TagsOut:
    """From a stored row."""
    return TagsOut.model_validate({**row._mapping})


def page_out(page: Page) -> PageOut:
    """From the use case."""
    items = [AssignmentOut(**_facts(row, page.feedback.get(row.feedback_id), page.now)) for row in page.items]
    return PageOut(items=items, next=page.next)


def case_out(case: Case, now: datetime) -> CaseOut:
    """From the use case."""
    return CaseOut(
        **_facts(case.assignment, case.feedback, now),
        feedback=None if case.feedback is None else _feedback(case.feedback),
        tags=tags_out(case.tags[0]) if case.tags else None,
        history=[_change(row) for row in case.history],
    )


def _facts(row: Assignment, feedback: Any, now: datetime) -> dict[str, Any]:
    running = row.clock_due_at is not None
    sensitive = {} if feedback is None else feedback.sensitive
    text = sensitive.get("text") or sensitive.get("title")
    names = set(AssignmentOut.model_fields) - {"member", "clock", "resolution", "excerpt", "customer_name"}
    found = {name: getattr(row, name) for name in names if name != "first_response_left_seconds"}
    return {
        **found,
        "member": row.member_id,
        "clock": _clock(row),
        "first_response_left_seconds": (row.clock_due_at - now).total_seconds()
        if row.clock_due_at and running
        else None,
        "resolution": _resolution(row),
        "customer_name": sensitive.get("name") or sensitive.get("handle"),
        "excerpt": text if text is None or len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…",
    }


def _clock(row: Assignment) -> Clock:
    if row.clock_due_at is None:
        return "none" if row.first_response_due_at is None else "stopped"
    return "breached" if row.breached_at else "at_risk" if row.at_risk_at else "running"


def _resolution(row: Any) -> Resolution | None:
    return Resolution(cause=row.cause, action=row.action) if row.cause and row.action else None


def _feedback(row: Any) -> FeedbackOut:
    words = {name: row.sensitive.get(name) for name in ("title", "text", "url")}
    known = {"revision": row.revision, "removed": row.removed, "customer": CustomerOut(**row.sensitive)}
    return FeedbackOut.model_validate({**row.facts, **words, **known})


def _change(row: Any) -> ChangeOut:
    return ChangeOut(
        sequence=row.sequence,
        change=row.change,
        state=row.state,
        actor=row.actor,
        at=row.at,
        team=row.team,
        member=row.member_id,
        priority=row.priority,
        explanation=None if row.explanation is None else Explanation.model_validate(row.explanation),
        note=row.note,
        resolution=_resolution(row),
    )
