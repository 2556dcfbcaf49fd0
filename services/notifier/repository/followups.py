"""Follow-ups and their attempts. Every change of state goes through here, counts up `changes` and makes an event."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select, update

from services.notifier.models import attempt, followup
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

# Serialises claims over all processes, so that the limit per endpoint is exact; a claim takes milliseconds.
_ONE_CLAIM = "select pg_advisory_xact_lock(hashtext('notifier claim'))"
_COLUMNS = ", ".join(column.name for column in followup.columns)
_OF_F = ", ".join(f"f.{column.name}" for column in followup.columns)
_INSERT = """
insert into followup (workspace, id, play, play_version, step, audience, transport, template, language, band,
    feedback_id, assignment_id, customer_id, correlation_id, causation_id, traceparent, conditions, facts, state,
    recipient, endpoint, due_at, next_at)
select r.workspace, r.id, r.play, r.play_version, r.step, r.audience, r.transport, r.template, r.language, r.band,
    r.feedback_id, r.assignment_id, r.customer_id, r.correlation_id, r.causation_id, r.traceparent, r.conditions,
    r.facts, 'planned', r.recipient, r.endpoint, t.due_at, t.due_at
from json_to_recordset(cast(:rows as json)) as r(
    workspace text, id uuid, play text, play_version text, step text, audience text, transport text, template text,
    language text, band text, feedback_id uuid, assignment_id uuid, customer_id uuid, correlation_id uuid,
    causation_id uuid, traceparent text, conditions json, facts json, recipient text, endpoint text,
    after_seconds float8)
cross join lateral (select clock_timestamp() + make_interval(secs => r.after_seconds) as due_at) t
on conflict (workspace, id) do nothing
returning """
_DUE = """
with endpoints as (select distinct endpoint from followup where next_at <= clock_timestamp()),
busy as (
    select endpoint, count(*) as calls from followup
    where state = 'sending' and lease_until > clock_timestamp() group by endpoint
),
due as (
    select x.workspace, x.id, x.next_at, x.place
    from endpoints e left join busy b using (endpoint)
    cross join lateral (
        select f.workspace, f.id, f.next_at, row_number() over (order by f.next_at) as place
        from followup f where f.endpoint = e.endpoint and f.next_at <= clock_timestamp()
        order by f.next_at limit greatest(0, :per_endpoint - coalesce(b.calls, 0))
    ) x
    order by x.place, x.next_at limit :limit
)
select f.*, extract(epoch from clock_timestamp() - f.next_at)::float8 as late_seconds,
    extract(epoch from clock_timestamp() - f.due_at)::float8 as overdue_seconds
from followup f join due using (workspace, id) order by due.place, due.next_at for update of f"""
_DECIDE = """
update followup f set
    state = v.state, reason = v.reason, recipient = coalesce(v.recipient, f.recipient), language = v.language,
    customer_id = coalesce(f.customer_id, v.customer_id),
    assignment_id = coalesce(f.assignment_id, v.assignment_id), next_at = null,
    epoch = f.epoch + (v.state = 'sending')::int, attempts = f.attempts + (v.state = 'sending')::int,
    tries = f.tries + (v.state = 'sending')::int,
    lease_until = case when v.state = 'sending' then clock_timestamp() + make_interval(secs => :lease) end,
    contacted_at = case when v.state = 'sending' and f.audience = 'customer'
                        then coalesce(f.contacted_at, clock_timestamp()) else f.contacted_at end,
    changes = f.changes + 1, changed_at = clock_timestamp()
from json_to_recordset(cast(:rows as json)) as v(
    workspace text, id uuid, state text, reason text, recipient text, language text, customer_id uuid,
    assignment_id uuid)
where f.workspace = v.workspace and f.id = v.id
returning """
_ATTEMPTS = """
insert into attempt (workspace, followup_id, number)
select * from json_to_recordset(cast(:rows as json)) as r(workspace text, id uuid, number integer)"""
# A late answer mends an `unknown`, as long as nothing else was done about it.
_SETTLE = """
with v as materialized (
    select * from json_to_recordset(cast(:rows as json)) as r(
        workspace text, id uuid, epoch integer, number integer, state text, reason text, retry_seconds float8,
        outcome text, status integer)
), ledger as (
    update attempt a set ended_at = clock_timestamp(), outcome = v.outcome, detail = v.reason, status = v.status
    from v where a.workspace = v.workspace and a.followup_id = v.id and a.number = v.number
)
update followup f set
    state = v.state, reason = v.reason, lease_until = null,
    next_at = clock_timestamp() + make_interval(secs => v.retry_seconds),
    contacted_at = case when v.state = 'failed' then null else f.contacted_at end,
    changes = f.changes + 1, changed_at = clock_timestamp()
from v where f.workspace = v.workspace and f.id = v.id and f.epoch = v.epoch
  and (f.state = 'sending' or f.state = 'unknown' and v.outcome <> 'unknown')
returning """
_EXPIRED = """
select * from followup where state = 'sending' and lease_until < clock_timestamp()
order by lease_until limit 100 for update skip locked"""
_CORRECTED = """
update followup f set state = 'cancelled', next_at = null, changes = f.changes + 1, changed_at = clock_timestamp(),
    reason = case when v.removed then 'the feedback was taken back'
                  else 'the feedback was corrected: it is ' || coalesce(v.band, 'without a band') || ' now' end
from json_to_recordset(cast(:rows as json)) as v(workspace text, feedback_id uuid, removed boolean, band text)
where f.workspace = v.workspace and f.feedback_id = v.feedback_id and f.state = 'planned' and f.audience = 'customer'
  and (v.removed or f.band is distinct from v.band)
returning """


async def insert_planned(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    """Plan follow-ups, due `after_seconds` from now by the database clock; the rows that are new."""
    if not rows:
        return []
    return (await uow.execute(_INSERT + _COLUMNS, {"rows": json.dumps(rows)})).all()


async def wake_delivery(uow: UnitOfWork) -> None:
    """Tell delivery workers at the commit that there is something to do."""
    await uow.execute("select pg_notify('notifier_followup', '')")


async def cancel_corrected(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    """Cancel what was planned for customers on the ground of an answer that reads differently now."""
    return (await uow.execute(_CORRECTED + _OF_F, {"rows": json.dumps(rows)})).all() if rows else []


async def lock_due(uow: UnitOfWork, *, limit: int, per_endpoint: int) -> Sequence[Any]:
    """Rows that are due, locked, in turns over endpoints; never more than `per_endpoint` calls in flight to one."""
    await uow.execute(_ONE_CLAIM)
    return (await uow.execute(_DUE, {"limit": limit, "per_endpoint": per_endpoint})).all()


async def decide(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]], *, lease_seconds: float) -> Sequence[Any]:
    """Move due rows to sending (with a lease and an attempt in the ledger), cancelled or suppressed."""
    if not rows:
        return []
    changed = (await uow.execute(_DECIDE + _OF_F, {"rows": json.dumps(rows), "lease": lease_seconds})).all()
    begun = [
        {"workspace": row.workspace, "id": str(row.id), "number": row.attempts}
        for row in changed
        if row.state == "sending"
    ]
    if begun:
        await uow.execute(_ATTEMPTS, {"rows": json.dumps(begun)})
    return changed


async def postpone(uow: UnitOfWork, workspace: str, identifier: UUID, seconds: float) -> None:
    """Look at a due row again later; nothing happened that anybody need know."""
    await uow.execute(
        "update followup set next_at = clock_timestamp() + make_interval(secs => :seconds) "
        "where workspace = :workspace and id = :id",
        {"workspace": workspace, "id": identifier, "seconds": seconds},
    )


async def lock_expired(uow: UnitOfWork) -> Sequence[Any]:
    """Rows in sending whose lease is over: nobody knows how their call ended."""
    return (await uow.execute(_EXPIRED)).all()


async def settle(uow: UnitOfWork, ended: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    """Record how attempts ended; the rows whose state that changed. Where a later attempt has begun it is too late to
    matter to the state, but the ledger keeps it. Keys: workspace, id, epoch, number, state, reason, retry_seconds,
    outcome, status."""
    return (await uow.execute(_SETTLE + _OF_F, {"rows": json.dumps(ended)})).all() if ended else []


async def plan_again(uow: UnitOfWork, workspace: str, identifier: UUID, reason: str) -> Any:
    """Send once more, now, on somebody's word."""
    result = await uow.execute(
        update(followup)
        .where(followup.c.workspace == workspace, followup.c.id == identifier)
        .values(
            state="planned",
            reason=reason,
            next_at=func.clock_timestamp(),
            tries=0,
            changes=followup.c.changes + 1,
            changed_at=func.clock_timestamp(),
        )
        .returning(*followup.columns)
    )
    return result.one()


async def get(uow: UnitOfWork, workspace: str, identifier: UUID, *, lock: bool = True) -> Any | None:
    """One follow-up, locked by default."""
    query = select(followup).where(followup.c.workspace == workspace, followup.c.id == identifier)
    return (await uow.execute(query.with_for_update() if lock else query)).first()


async def read(reader: Reader, identifier: UUID) -> tuple[Any | None, Sequence[Any]]:
    """One follow-up of the reader's workspace with its attempts, oldest first."""
    row = await reader.first(select(followup).where(followup.c.id == identifier))
    attempts = await reader.all(select(attempt).where(attempt.c.followup_id == identifier).order_by(attempt.c.number))
    return row, attempts


async def page(
    reader: Reader, filters: Mapping[str, Any], after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Any]:
    """Follow-ups of the reader's workspace, newest first, after a cursor."""
    query = select(followup).order_by(followup.c.created_at.desc(), followup.c.id.desc()).limit(limit)
    for name, value in filters.items():
        if value is not None:
            query = query.where(followup.c[name] == value)
    if after is not None:
        created_at, identifier = after
        query = query.where(
            or_(
                followup.c.created_at < created_at,
                and_(followup.c.created_at == created_at, followup.c.id < identifier),
            )
        )
    return await reader.all(query)


async def next_due_seconds(reader: Reader) -> float | None:
    """Seconds until the next row is due or a lease ends; None when nothing waits."""
    seconds: float | None = await reader.scalar(
        "select extract(epoch from least("
        "(select min(next_at) from followup where next_at is not null),"
        "(select min(lease_until) from followup where state = 'sending')) - clock_timestamp())::float8"
    )
    return seconds
