"""Answers, series, buckets and scores."""

from alembic import op

from shared.db import runtime_tables
from shared.db.workspaces import protect

revision = "0001"
down_revision = None


def upgrade() -> None:
    runtime_tables.create(op.execute)
    op.execute(
        """create table answer (
            workspace text not null, feedback_id uuid not null, revision bigint not null, removed boolean not null,
            occurred_at timestamptz not null, survey_type text not null, survey text, customer_id uuid,
            touchpoint text, department text, product text, segment text, channel text, wave text,
            points jsonb not null,
            primary key (workspace, feedback_id)
        )"""
    )
    op.execute(
        """create table series (
            workspace text not null, id uuid not null, name text collate "C" not null,
            metric text not null, survey_type text not null,
            touchpoint text, department text, product text, segment text, channel text, wave text,
            primary key (workspace, id)
        )"""
    )
    op.execute("create unique index series_name on series (workspace, name)")
    op.execute(
        """create table bucket (
            workspace text not null, series uuid not null, grain text not null, slot integer not null,
            measure text not null,
            n integer not null, top integer not null, bottom integer not null,
            total numeric not null, squares numeric not null,
            primary key (workspace, series, grain, slot, measure)
        ) with (fillfactor = 85)"""
    )
    op.execute(
        """create table score (
            workspace text not null, series uuid not null, days smallint not null,
            due_at timestamptz, cause text not null, causation_id uuid, correlation_id uuid not null,
            traceparent text, published_at timestamptz, publication bigint not null default 0, content jsonb,
            primary key (workspace, series, days)
        ) with (fillfactor = 60)"""
    )
    op.execute("create index score_due on score (due_at) where due_at is not null")
    op.execute("create table clock (workspace text primary key, hour integer not null)")
    protect(op.execute, "answer", "series", "bucket", "score", "clock", grants="select")
