"""Teams, feedback with its tags, assignments with their history."""

from alembic import op

from shared.db import runtime_tables
from shared.db.workspaces import protect

revision = "0001"
down_revision = None


def upgrade() -> None:
    runtime_tables.create(op.execute)
    op.execute(
        """create table team_document (
            workspace text primary key, version integer not null, document json not null, file_hash text,
            changed_by text not null, changed_at timestamptz not null default clock_timestamp()
        )"""
    )
    op.execute(
        "comment on column team_document.file_hash is "
        "'of the TEAMS_FILE applied last, so that a restart does not undo later edits'"
    )
    op.execute(
        """create table member_state (
            workspace text not null, member_id text not null, away boolean not null default false,
            away_until timestamptz, last_assigned_at timestamptz,
            primary key (workspace, member_id)
        )"""
    )
    op.execute(
        """create table feedback (
            workspace text not null, feedback_id uuid not null, revision bigint not null, removed boolean not null,
            facts json not null, sensitive json not null,
            primary key (workspace, feedback_id)
        )"""
    )
    op.execute("comment on column feedback.facts is 'feedback.received.v1 without what identifies a person'")
    op.execute(
        """create table tag (
            workspace text not null, feedback_id uuid not null, revision bigint not null,
            language text not null, language_confidence double precision not null,
            sentiment text not null, sentiment_score double precision not null,
            sentiment_confidence double precision not null,
            department text not null, department_confidence double precision not null,
            issues json not null, urgency text not null, urgency_reason text, actionable boolean not null,
            spam boolean not null, spam_score double precision not null, spam_reason text,
            understanding_version text not null,
            primary key (workspace, feedback_id, revision)
        )"""
    )
    op.execute(
        """create table assignment (
            workspace text not null, id uuid not null, feedback_id uuid not null, correlation_id uuid not null,
            state text not null, sequence integer not null, team text, member_id text,
            customer_id uuid, channel text not null, touchpoint text, department text, tagged_department text not null,
            product text, segment text, language text not null, band text, sentiment text not null,
            urgency text not null, issues text[] not null, priority text not null, priority_terms json not null,
            public boolean not null, opened_at timestamptz not null, queued_at timestamptz, assigned_at timestamptz,
            first_response_due_at timestamptz, clock_due_at timestamptz, at_risk_at timestamptz,
            breached_at timestamptz, first_response_at timestamptz, first_response_seconds double precision,
            resolved_at timestamptz, resolved_by text, cause text, action text,
            declined_by text[] not null,
            primary key (workspace, id), unique (workspace, feedback_id)
        ) with (fillfactor = 80)"""
    )
    op.execute("comment on column assignment.declined_by is 'members who handed it back; asked again after a wait'")
    op.execute("comment on column assignment.clock_due_at is 'first_response_due_at while the clock runs'")
    op.execute("create index assignment_load on assignment (workspace, member_id) where state in ('assigned', 'taken')")
    op.execute("create index assignment_queue on assignment (workspace, opened_at) where state = 'queued'")
    op.execute(
        "create index assignment_open on assignment (workspace, clock_due_at, opened_at, id) where state <> 'resolved'"
    )
    op.execute("create index assignment_resolved on assignment (workspace, resolved_at, id) where state = 'resolved'")
    op.execute(
        """create table assignment_change (
            workspace text not null, assignment_id uuid not null, sequence integer not null, change text not null,
            state text not null, actor text not null, team text, member_id text, priority text not null,
            at timestamptz not null, explanation json, note text, cause text, action text,
            primary key (workspace, assignment_id, sequence),
            foreign key (workspace, assignment_id) references assignment (workspace, id)
        )"""
    )
    op.execute(
        """create table customer_last_agent (
            workspace text not null, customer_id uuid not null, member_id text not null, at timestamptz not null,
            primary key (workspace, customer_id)
        )"""
    )
    protect(
        op.execute,
        "team_document",
        "member_state",
        "feedback",
        "tag",
        "assignment",
        "assignment_change",
        "customer_last_agent",
    )
