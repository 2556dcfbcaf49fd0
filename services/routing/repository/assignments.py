"""SQL of assignments and their history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, literal, or_, select, tuple_

from services.routing.domain.assignment import Assignment, Change
from services.routing.models import assignment, assignment_change
from services.routing.repository.among import among
from shared.contracts.assignment_changed import AssignmentState, Priority, Term
from shared.core.clock import rfc3339
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

SLA_TIMER = "sla"
_COLUMNS = [field.name for field in fields(Assignment)]
_UPSERT = f"""
insert into assignment ({", ".join(_COLUMNS)})
select {", ".join(_COLUMNS)} from jsonb_populate_recordset(cast(null as assignment), cast(:rows as jsonb))
on conflict (workspace, id) do update
set {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("workspace", "id"))}"""  # noqa: S608
_HISTORY = """
insert into assignment_change
select * from jsonb_populate_recordset(cast(null as assignment_change), cast(:rows as jsonb))"""
_SCHEDULE = """
insert into timer (kind, key, workspace, due_at, payload)
select kind, key, workspace, due_at, payload
from jsonb_populate_recordset(cast(null as timer), cast(:rows as jsonb))
on conflict (workspace, kind, key) do update set due_at = excluded.due_at, payload = excluded.payload"""
_CANCEL = "delete from timer where workspace = :workspace and kind = :kind and key = any(cast(:keys as text[]))"
_WITH_QUEUE = """
select distinct workspace from assignment where state = 'queued'
union select distinct workspace from assignment where state = 'assigned'"""
_FOREVER = datetime.fromisoformat("9999-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Clock:
    """An SLA timer to set: `stage` is at_risk or breached."""

    workspace: str
    assignment_id: UUID
    stage: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list shows; empty `states` means all that are open."""

    states: tuple[AssignmentState, ...] = ()
    member_id: str | None = None
    team: str | None = None
    priority: Priority | None = None
    language: str | None = None


async def write(uow: UnitOfWork, changes: Sequence[Change]) -> None:
    """Store the assignments after `changes` (given in order) and append to their history."""
    if not changes:
        return
    latest = {change.after.id: change.after for change in changes}
    await save(uow, list(latest.values()))
    await uow.execute(_HISTORY, {"rows": json.dumps([_history_row(change) for change in changes])})


async def save(uow: UnitOfWork, rows: Sequence[Assignment]) -> None:
    """Store assignments as they are, without a line of history (their tags changed)."""
    if rows:
        values = [{name: getattr(row, name) for name in _COLUMNS} for row in rows]
        await uow.execute(_UPSERT, {"rows": json.dumps(values, default=_plain)})


async def schedule(uow: UnitOfWork, clocks: Sequence[Clock]) -> None:
    """Set SLA timers: those of a batch in one statement, then one more through the unit of work, which wakes the
    timer loop at the commit."""
    if not clocks:
        return
    rows = [
        {
            "kind": SLA_TIMER,
            "key": str(clock.assignment_id),
            "workspace": clock.workspace,
            "due_at": clock.due_at,
            "payload": {"stage": clock.stage},
        }
        for clock in clocks[1:]
    ]
    if rows:
        await uow.execute(_SCHEDULE, {"rows": json.dumps(rows, default=_plain)})
    first = clocks[0]
    await uow.schedule(
        SLA_TIMER,
        str(first.assignment_id),
        workspace=first.workspace,
        payload={"stage": first.stage},
        due_at=first.due_at,
    )


async def cancel(uow: UnitOfWork, workspace: str, ids: Sequence[UUID]) -> None:
    """Stop SLA timers."""
    if ids:
        keys = [str(identifier) for identifier in ids]
        await uow.execute(_CANCEL, {"workspace": workspace, "kind": SLA_TIMER, "keys": keys})


async def of_feedback(uow: UnitOfWork, workspace: str, feedback_ids: Sequence[UUID]) -> dict[UUID, Assignment]:
    """Assignments of some feedback, locked."""
    query = assignment.select().where(
        assignment.c.workspace == workspace, among(assignment.c.feedback_id, feedback_ids)
    )
    rows = await uow.execute(query.order_by(assignment.c.id).with_for_update())
    return {row.feedback_id: _assignment(row) for row in rows}


async def ids_of_feedback(uow: UnitOfWork, workspace: str, feedback_ids: Sequence[UUID]) -> list[UUID]:
    """Ids of the assignments of some feedback, in a fixed order, not locked."""
    query = select(assignment.c.id).where(
        assignment.c.workspace == workspace, among(assignment.c.feedback_id, feedback_ids)
    )
    return [row.id for row in await uow.execute(query.order_by(assignment.c.id))]


async def one(uow: UnitOfWork, workspace: str, identifier: UUID) -> Assignment | None:
    """One assignment, locked."""
    query = assignment.select().where(assignment.c.workspace == workspace, assignment.c.id == identifier)
    row = (await uow.execute(query.with_for_update())).first()
    return None if row is None else _assignment(row)


async def some(uow: UnitOfWork, workspace: str, ids: Sequence[UUID]) -> list[Assignment]:
    """Assignments by id, locked."""
    query = assignment.select().where(assignment.c.workspace == workspace, among(assignment.c.id, ids))
    return [_assignment(row) for row in await uow.execute(query.order_by(assignment.c.id).with_for_update())]


async def held_by(
    uow: UnitOfWork, workspace: str, members: Sequence[str], states: Sequence[AssignmentState]
) -> list[Assignment]:
    """What these members hold in these states: priority first, then the longest wait."""
    query = assignment.select().where(
        assignment.c.workspace == workspace, among(assignment.c.member_id, members), assignment.c.state.in_(states)
    )
    rows = await uow.execute(query.order_by(_rank(), assignment.c.opened_at).with_for_update())
    return [_assignment(row) for row in rows]


async def holders(uow: UnitOfWork, workspace: str) -> list[str]:
    """Members who hold something that they have not taken yet or not answered yet."""
    query = select(assignment.c.member_id).distinct()
    query = query.where(assignment.c.workspace == workspace, assignment.c.state.in_(("assigned", "taken")))
    return [row.member_id for row in await uow.execute(query) if row.member_id is not None]


async def queue_kinds(uow: UnitOfWork, workspace: str) -> Sequence[Row[Any]]:
    """The different wants that wait, best priority first: nobody who can take one means nobody for its whole kind."""
    kind = [
        assignment.c.team,
        assignment.c.department,
        assignment.c.tagged_department,
        assignment.c.language,
        assignment.c.issues,
        assignment.c.declined_by,
    ]
    query = select(*kind, func.min(assignment.c.queued_at).label("oldest"))
    query = query.where(assignment.c.workspace == workspace, assignment.c.state == "queued").group_by(*kind)
    return (await uow.execute(query.order_by(func.min(_rank()), func.min(assignment.c.opened_at)))).all()


async def queued(uow: UnitOfWork, workspace: str, kinds: Sequence[Row[Any]], limit: int) -> list[Assignment]:
    """Waiting assignments of these kinds, priority then waiting time, locked."""
    of_kind = or_(
        *(
            and_(
                assignment.c.team.is_not_distinct_from(kind.team),
                assignment.c.department.is_not_distinct_from(kind.department),
                assignment.c.tagged_department == kind.tagged_department,
                assignment.c.language == kind.language,
                assignment.c.issues == kind.issues,
                assignment.c.declined_by == kind.declined_by,
            )
            for kind in kinds
        )
    )
    query = assignment.select().where(assignment.c.workspace == workspace, assignment.c.state == "queued", of_kind)
    rows = await uow.execute(query.order_by(_rank(), assignment.c.opened_at).limit(limit).with_for_update())
    return [_assignment(row) for row in rows]


async def workspaces_with_work(reader: Reader) -> list[str]:
    """Workspaces where something waits or is not yet taken."""
    return sorted(row.workspace for row in await reader.all(_WITH_QUEUE))


async def show(reader: Reader, workspace: str, identifier: UUID) -> Assignment | None:
    """One assignment for reading."""
    row = await reader.first(
        assignment.select().where(assignment.c.workspace == workspace, assignment.c.id == identifier)
    )
    return None if row is None else _assignment(row)


async def history(reader: Reader, workspace: str, identifier: UUID) -> Sequence[Row[Any]]:
    """All changes, first to last."""
    query = assignment_change.select().where(
        assignment_change.c.workspace == workspace, assignment_change.c.assignment_id == identifier
    )
    return await reader.all(query.order_by(assignment_change.c.sequence))


Cursor = tuple[datetime, datetime, UUID]


async def page(
    reader: Reader, workspace: str, wanted: Filter, after: Cursor | None, limit: int
) -> tuple[list[Assignment], Cursor | None]:
    """Open ones: the clock that is nearest to its end or furthest past it first, then oldest first. Only resolved
    ones: newest first. Returns the page and where the next begins."""
    newest_first = wanted.states == ("resolved",)
    clock = func.coalesce(assignment.c.clock_due_at, literal(_FOREVER))
    keys = [assignment.c.resolved_at if newest_first else clock, assignment.c.opened_at, assignment.c.id]
    query = select(assignment, keys[0].label("key")).where(assignment.c.workspace == workspace, *_filters(wanted))
    if after is not None:
        place = tuple_(*(literal(value) for value in after))
        query = query.where(tuple_(*keys) < place if newest_first else tuple_(*keys) > place)
    order = [key.desc() for key in keys] if newest_first else keys
    rows = await reader.all(query.order_by(*order).limit(limit + 1))
    last = rows[limit - 1] if len(rows) > limit else None
    return [_assignment(row) for row in rows[:limit]], None if last is None else (last.key, last.opened_at, last.id)


def _filters(wanted: Filter) -> list[Any]:
    columns = {
        assignment.c.member_id: wanted.member_id,
        assignment.c.team: wanted.team,
        assignment.c.priority: wanted.priority,
        assignment.c.language: wanted.language,
    }
    found: list[Any] = [column == value for column, value in columns.items() if value is not None]
    state = assignment.c.state
    return [*found, state.in_(wanted.states) if wanted.states else state != "resolved"]


def _rank() -> Any:
    return func.array_position(literal(["urgent", "high", "normal", "low"]), assignment.c.priority)


def _assignment(row: Row[Any]) -> Assignment:
    found = {name: row._mapping[name] for name in _COLUMNS}
    terms = tuple(Term(**term) for term in found["priority_terms"])
    return Assignment(
        **{
            **found,
            "issues": tuple(found["issues"]),
            "priority_terms": terms,
            "declined_by": tuple(found["declined_by"]),
        }
    )


def _history_row(change: Change) -> dict[str, Any]:
    after = change.after
    resolved = change.change == "resolved"
    return {
        "workspace": after.workspace,
        "assignment_id": str(after.id),
        "sequence": after.sequence,
        "change": change.change,
        "state": after.state,
        "actor": change.actor,
        "team": after.team,
        "member_id": after.member_id,
        "priority": after.priority,
        "at": rfc3339(change.at),
        "explanation": None if change.explanation is None else change.explanation.model_dump(mode="json"),
        "note": change.note,
        "cause": after.cause if resolved else None,
        "action": after.action if resolved else None,
    }


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Term):
        return value.model_dump()
    return str(value)
