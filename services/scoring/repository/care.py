"""SQL of what became of cases, for reports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from services.scoring.domain.report import Cases, Named, Obstacles
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.envelope import Event
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

# Who did what no person did.
SYSTEM = "system"
_COLUMNS = {
    "workspace": "text",
    "id": "uuid",
    "sequence": "integer",
    "customer_id": "uuid",
    "department": "text",
    "detractor": "boolean",
    "opened_at": "timestamptz",
    "due_at": "timestamptz",
    "answered_at": "timestamptz",
    "answered_seconds": "double precision",
    "resolved_at": "timestamptz",
    "cause": "text",
    "action": "text",
}
_CHANGING = [name for name in _COLUMNS if name not in ("workspace", "id")]
_KEEP = text(
    f"""insert into care ({", ".join(_COLUMNS)})
    select * from unnest({", ".join(f"cast(:{name} as {kind}[])" for name, kind in _COLUMNS.items())})
    on conflict (workspace, id) do update set {", ".join(f"{name} = excluded.{name}" for name in _CHANGING)}
    where excluded.sequence > care.sequence"""  # noqa: S608 - names of ours
)
_MINE = "workspace = :workspace and (cast(:department as text) is null or department = :department)"
# What nobody resolved but the system closed (spam, taken back) has no cause; it neither waits nor is resolved.
_CASES = text(
    f"""select
        count(*) filter (where opened_at >= :start) as opened,
        count(*) filter (where resolved_at >= :start and resolved_at < :end and cause is not null) as resolved,
        count(*) filter (where resolved_at is null or resolved_at >= :end) as waiting,
        count(*) filter (where answered_at >= :start and answered_at < :end and due_at is not null) as answered,
        count(*) filter (where answered_at >= :start and answered_at < :end and answered_at <= due_at) as on_time,
        percentile_cont(0.5) within group (order by answered_seconds)
            filter (where answered_at >= :start and answered_at < :end) as median
    from care where {_MINE} and opened_at < :end"""  # noqa: S608 - words of ours
)
_NAMED = text(
    f"""with resolved as (
        select cause, action from care
        where {_MINE} and resolved_at >= :start and resolved_at < :end and cause is not null
    )
    (select 'cause' as what, cause as name, count(*) as n from resolved group by 2 order by n desc, name limit :most)
    union all
    (select 'action', action, count(*) as n from resolved where action is not null
     group by 2 order by n desc, 2 limit :most)"""  # noqa: S608 - words of ours
)
_CLOSED = text(
    f"""select customer_id, resolved_at from care
    where {_MINE} and resolved_at >= :start and resolved_at < :end and cause is not null and detractor"""  # noqa: S608
)
_MOST_NAMED = 8


class Period(NamedTuple):
    """A department (None: all) from `start` to before `end`."""

    workspace: str
    department: str | None
    start: datetime
    end: datetime


async def keep(uow: UnitOfWork, events: Sequence[Event[AssignmentChangedV1]]) -> None:
    """Remember how assignments stand; an older change than the one that is known changes nothing."""
    latest: dict[tuple[str, UUID], Event[AssignmentChangedV1]] = {}
    for event in sorted(events, key=lambda event: event.data.sequence):
        latest[event.workspace, event.data.assignment_id] = event
    rows = [_row(event) for event in latest.values()]
    await uow.execute(_KEEP, {name: [row[name] for row in rows] for name in _COLUMNS})


def _row(event: Event[AssignmentChangedV1]) -> dict[str, Any]:
    data = event.data
    by_a_person = data.resolution if data.actor != SYSTEM else None
    return {
        "workspace": event.workspace,
        "id": data.assignment_id,
        "sequence": data.sequence,
        "customer_id": data.customer_id,
        "department": data.department,
        "detractor": data.band == "detractor",
        "opened_at": data.opened_at,
        "due_at": data.first_response_due_at,
        "answered_at": data.first_response_at,
        "answered_seconds": data.first_response_seconds,
        "resolved_at": data.resolved_at,
        "cause": by_a_person and by_a_person.cause,
        "action": by_a_person and by_a_person.action,
    }


async def cases(reader: Reader, period: Period) -> Cases:
    """What became of cases in a period."""
    row = (await reader.all(_CASES, period._asdict()))[0]
    named = await reader.all(_NAMED, {**period._asdict(), "most": _MOST_NAMED})
    return Cases(
        opened=row.opened,
        resolved=row.resolved,
        waiting=row.waiting,
        answered=row.answered,
        on_time=row.on_time,
        first_response_seconds=row.median,
        causes=tuple(Named(one.name, one.n) for one in named if one.what == "cause"),
        actions=tuple(Named(one.name, one.n) for one in named if one.what == "action"),
    )


async def closed_detractors(reader: Reader, period: Period) -> list[tuple[UUID | None, datetime]]:
    """(customer, resolved at) of the detractors whose case a person closed in a period."""
    return [(row.customer_id, row.resolved_at) for row in await reader.all(_CLOSED, period._asdict())]


async def obstacles(reader: Reader, workspace: str, department: str | None, quarter: str) -> Obstacles | None:
    """What a manager wrote about a quarter."""
    statement = """select body, changed_at from obstacles
        where workspace = :workspace and department = :department and quarter = :quarter"""
    values = {"workspace": workspace, "department": department or "", "quarter": quarter}
    found = await reader.first(statement, values)
    return None if found is None else Obstacles(found.body, found.changed_at)


async def write_obstacles(uow: UnitOfWork, workspace: str, department: str | None, quarter: str, body: str) -> None:
    """Put a text in the place of the one before; an empty one removes it."""
    values = {"workspace": workspace, "department": department or "", "quarter": quarter}
    if body:
        statement = """insert into obstacles (workspace, department, quarter, body, changed_at)
            values (:workspace, :department, :quarter, :body, clock_timestamp())
            on conflict (workspace, department, quarter) do update
            set body = excluded.body, changed_at = excluded.changed_at"""
        await uow.execute(statement, values | {"body": body})
    else:
        statement = """delete from obstacles
            where workspace = :workspace and department = :department and quarter = :quarter"""
        await uow.execute(statement, values)
