"""Follow-ups with their attempts, what plays need to know, play files, addresses and suppressions."""

from alembic import op

from shared.db import runtime_tables
from shared.db.workspaces import protect

revision = "0001"
down_revision = None


def upgrade() -> None:
    runtime_tables.create(op.execute)
    for statement in _TABLES:
        op.execute(statement)
    # Requests read what customers said to whom; they change only what people decide.
    protect(op.execute, "feedback", "understanding", "assignment", "endpoint_health", grants="select, delete")
    protect(op.execute, "followup", "attempt", grants="select, update")
    protect(op.execute, "play_file", grants="select, insert")
    protect(op.execute, "suppression", "destination")


_TABLES = (
    """create table feedback (
        workspace text not null, feedback_id uuid not null, revision bigint not null, removed boolean not null,
        kind text not null, occurred_at timestamptz not null, channel text not null, touchpoint text, department text,
        product text, segment text, survey text, language text, band text, customer_id uuid, name text, email text,
        primary key (workspace, feedback_id)
    )""",
    "create index feedback_customer on feedback (workspace, customer_id, occurred_at)",
    """create table understanding (
        workspace text not null, feedback_id uuid not null, revision bigint not null, language text not null,
        sentiment text not null, urgency text not null, department text not null, spam boolean not null,
        primary key (workspace, feedback_id)
    )""",
    """create table assignment (
        workspace text not null, feedback_id uuid not null, assignment_id uuid not null, sequence integer not null,
        state text not null, reopened boolean not null, team text, priority text not null, language text not null,
        department text, first_response_due_at timestamptz, first_response_at timestamptz,
        member_name text, member_email text,
        primary key (workspace, feedback_id)
    )""",
    """create table followup (
        workspace text not null, id uuid not null, play text not null, play_version text not null, step text not null,
        audience text not null, transport text not null, template text not null, language text not null, band text,
        feedback_id uuid not null, assignment_id uuid, customer_id uuid, correlation_id uuid not null,
        causation_id uuid, traceparent text, conditions json not null, facts json not null,
        state text not null, reason text, recipient text, endpoint text not null,
        due_at timestamptz not null, next_at timestamptz, lease_until timestamptz,
        epoch integer not null default 0, attempts integer not null default 0, tries integer not null default 0,
        changes integer not null default 1, contacted_at timestamptz,
        created_at timestamptz not null default clock_timestamp(),
        changed_at timestamptz not null default clock_timestamp(),
        primary key (workspace, id)
    )""",
    "comment on column followup.endpoint is 'What shares a limit of calls in flight'",
    "comment on column followup.next_at is 'When the delivery worker looks at it next; null: never again by itself'",
    "comment on column followup.tries is 'Place in the retry schedule'",
    """comment on column followup.contacted_at is
        'First attempt to reach a customer: what the contact governor counts'""",
    "create index followup_next on followup (endpoint, next_at) where next_at is not null",
    "create index followup_sending on followup (lease_until) where state = 'sending'",
    "create index followup_newest on followup (workspace, created_at, id)",
    "create index followup_feedback on followup (workspace, feedback_id)",
    """create index followup_person on followup (workspace, recipient, contacted_at)
        where audience = 'customer'""",
    """create table attempt (
        workspace text not null, followup_id uuid not null, number integer not null,
        started_at timestamptz not null default clock_timestamp(), ended_at timestamptz,
        outcome text not null default 'sending', detail text, status integer,
        primary key (workspace, followup_id, number),
        foreign key (workspace, followup_id) references followup (workspace, id) on delete cascade
    )""",
    """create table play_file (
        workspace text not null, version integer not null, content text not null,
        created_at timestamptz not null default clock_timestamp(), created_by text not null,
        primary key (workspace, version)
    )""",
    """create table suppression (
        workspace text not null, email text not null, reason text not null,
        created_at timestamptz not null default clock_timestamp(),
        primary key (workspace, email)
    )""",
    """create table destination (
        workspace text not null, audience text not null, transport text not null, address text not null,
        secret_version integer not null default 1, changed_at timestamptz not null default clock_timestamp(),
        primary key (workspace, audience, transport)
    )""",
    """create table endpoint_health (
        workspace text not null, address text not null, failing_since timestamptz, disabled_at timestamptz,
        reason text,
        primary key (workspace, address)
    )""",
    "create table installation_key (id integer primary key, secret bytea not null)",
    "comment on column installation_key.secret is 'Signs unsubscribe links and derives webhook secrets'",
)
