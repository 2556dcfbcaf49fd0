"""What plays need to know of a feedback: kept from events, the newest revision or sequence wins."""

import json
from collections.abc import Sequence
from typing import Any

from shared.db.unit_of_work import UnitOfWork

_FEEDBACK = """
insert into feedback (workspace, feedback_id, revision, removed, kind, occurred_at, channel, touchpoint, department,
                      product, segment, survey, language, band, customer_id, name, email)
select * from json_to_recordset(cast(:rows as json)) as r(
    workspace text, feedback_id uuid, revision bigint, removed boolean, kind text, occurred_at timestamptz,
    channel text, touchpoint text, department text, product text, segment text, survey text, language text, band text,
    customer_id uuid, name text, email text)
on conflict (workspace, feedback_id) do update set
    revision = excluded.revision, removed = excluded.removed, kind = excluded.kind,
    occurred_at = excluded.occurred_at, channel = excluded.channel, touchpoint = excluded.touchpoint,
    department = excluded.department, product = excluded.product, segment = excluded.segment,
    survey = excluded.survey, language = excluded.language, band = excluded.band,
    customer_id = excluded.customer_id, name = excluded.name, email = excluded.email
where feedback.revision <= excluded.revision
returning workspace, feedback_id"""
_UNDERSTANDING = """
insert into understanding (workspace, feedback_id, revision, language, sentiment, urgency, department, spam)
select * from json_to_recordset(cast(:rows as json)) as r(
    workspace text, feedback_id uuid, revision bigint, language text, sentiment text, urgency text, department text,
    spam boolean)
on conflict (workspace, feedback_id) do update set
    revision = excluded.revision, language = excluded.language, sentiment = excluded.sentiment,
    urgency = excluded.urgency, department = excluded.department, spam = excluded.spam
where understanding.revision <= excluded.revision"""
_ASSIGNMENT = """
insert into assignment (workspace, feedback_id, assignment_id, sequence, state, reopened, team, priority, language,
                        department, first_response_due_at, first_response_at, member_name, member_email)
select * from json_to_recordset(cast(:rows as json)) as r(
    workspace text, feedback_id uuid, assignment_id uuid, sequence integer, state text, reopened boolean, team text,
    priority text, language text, department text, first_response_due_at timestamptz, first_response_at timestamptz,
    member_name text, member_email text)
on conflict (workspace, feedback_id) do update set
    assignment_id = excluded.assignment_id, sequence = excluded.sequence, state = excluded.state,
    reopened = assignment.reopened and excluded.state <> 'resolved' or excluded.reopened,
    team = excluded.team, priority = excluded.priority, language = excluded.language,
    department = excluded.department, first_response_due_at = excluded.first_response_due_at,
    first_response_at = excluded.first_response_at, member_name = excluded.member_name,
    member_email = excluded.member_email
where assignment.sequence <= excluded.sequence or assignment.assignment_id <> excluded.assignment_id"""
# One row per follow-up that is due: all that its conditions, its address and its words may need.
_FACTS = """
select f.workspace, f.id,
    fb.feedback_id is not null as known, coalesce(fb.removed, false) as removed, fb.kind, fb.name, fb.channel,
    fb.touchpoint, fb.department, fb.product, fb.segment, fb.survey, fb.language, fb.band, fb.customer_id,
    coalesce(fb.email, (
        select p.email from feedback p
        where p.workspace = f.workspace and p.customer_id = coalesce(fb.customer_id, f.customer_id)
          and p.email is not null and not p.removed
        order by p.occurred_at desc limit 1)) as email,
    coalesce(u.spam, false) as spam, u.language as understood_language, u.sentiment, u.urgency,
    u.department as understood_department,
    a.assignment_id, a.state as case_state, coalesce(a.reopened, false) as reopened, a.team, a.priority,
    a.first_response_due_at, a.first_response_at, a.member_name, a.member_email,
    n.newer_feedback, n.recovered,
    d.address as destination, d.secret_version
from followup f
join json_to_recordset(cast(:keys as json)) as k(workspace text, id uuid) on f.workspace = k.workspace and f.id = k.id
left join feedback fb on fb.workspace = f.workspace and fb.feedback_id = f.feedback_id
left join understanding u on u.workspace = f.workspace and u.feedback_id = f.feedback_id
left join assignment a on a.workspace = f.workspace and a.feedback_id = f.feedback_id
left join destination d on d.workspace = f.workspace and d.audience = f.audience and d.transport = f.transport
cross join lateral (
    select count(*) > 0 as newer_feedback, coalesce(bool_or(x.band in ('promoter', 'passive')), false) as recovered
    from feedback x
    where x.workspace = f.workspace and x.customer_id = fb.customer_id and x.feedback_id <> f.feedback_id
      and x.occurred_at > fb.occurred_at and not x.removed
) n"""
# How often, and whether at all, these people may be written to: (workspace, e-mail) → contacts in the period.
_PEOPLE = """
select k.workspace, k.email, s.reason as unsubscribed,
    (select count(*) from followup g
     where g.workspace = k.workspace and g.recipient = k.email and g.audience = 'customer'
       and g.contacted_at > clock_timestamp() - make_interval(secs => :period)) as contacts
from json_to_recordset(cast(:keys as json)) as k(workspace text, email text)
left join suppression s on s.workspace = k.workspace and s.email = k.email"""


async def keep_feedback(uow: UnitOfWork, rows: Sequence[dict[str, Any]]) -> set[tuple[str, Any]]:
    """Keep the newest revisions; (workspace, feedback_id) of those that were not older than what is known."""
    if not rows:
        return set()
    result = await uow.execute(_FEEDBACK, {"rows": json.dumps(rows)})
    return {(row.workspace, row.feedback_id) for row in result}


async def keep_understanding(uow: UnitOfWork, rows: Sequence[dict[str, Any]]) -> None:
    """Keep the tags of a feedback."""
    if rows:
        await uow.execute(_UNDERSTANDING, {"rows": json.dumps(rows)})


async def keep_assignments(uow: UnitOfWork, rows: Sequence[dict[str, Any]]) -> None:
    """Keep how a case stands."""
    if rows:
        await uow.execute(_ASSIGNMENT, {"rows": json.dumps(rows)})


async def facts(uow: UnitOfWork, keys: Sequence[tuple[str, Any]]) -> dict[tuple[str, Any], Any]:
    """(workspace, follow-up) → its row of facts."""
    named = [{"workspace": workspace, "id": str(identifier)} for workspace, identifier in keys]
    result = await uow.execute(_FACTS, {"keys": json.dumps(named)})
    return {(row.workspace, row.id): row for row in result}


async def people(uow: UnitOfWork, keys: set[tuple[str, str]], period_seconds: float) -> dict[tuple[str, str], Any]:
    """(workspace, e-mail) → contacts in the period, and why they are unsubscribed (None: they are not)."""
    if not keys:
        return {}
    named = [{"workspace": workspace, "email": email} for workspace, email in sorted(keys)]
    result = await uow.execute(_PEOPLE, {"keys": json.dumps(named), "period": period_seconds})
    return {(row.workspace, row.email): row for row in result}
