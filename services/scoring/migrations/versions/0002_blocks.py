"""Answers as blocks of rows, sums as day rows. The old tables go: their content is counted anew from the log."""

from alembic import op

from shared.db.workspaces import protect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("drop table answer, bucket, score, clock, series")
    op.execute("delete from timer")
    op.execute("delete from processed_event")
    op.execute("delete from consumer_position")
    op.execute(
        """create table block (
            workspace text not null, id bigint generated always as identity, first_row bigint, n integer not null,
            head text not null, ids bytea not null, rows bytea not null,
            dead integer[] not null default '{}', replaced bigint[] not null default '{}',
            primary key (workspace, id)
        )"""
    )
    op.execute("create unique index block_row on block (workspace, first_row)")
    op.execute("create index block_waiting on block (workspace, id) where first_row is null")
    op.execute("alter table block alter column rows set storage external")
    op.execute(
        """create table day (
            workspace text not null, generation integer not null, series uuid not null, day integer not null,
            measure text not null,
            n integer not null, top integer not null, bottom integer not null,
            total numeric not null, squares numeric not null, hours bytea not null,
            primary key (workspace, generation, series, day, measure)
        ) with (fillfactor = 70)"""
    )
    op.execute(
        """create table score (
            workspace text not null, series uuid not null, span text not null,
            published_at timestamptz not null, publication bigint not null, content jsonb not null,
            primary key (workspace, series, span)
        ) with (fillfactor = 60)"""
    )
    op.execute(
        """create table progress (
            workspace text primary key, next_row bigint not null default 0, published_row bigint not null default 0,
            hour integer not null, turns_at timestamptz not null, passes bigint not null default 0,
            generation integer not null default 0, rules_version bigint not null, rules jsonb not null,
            draft_version bigint, draft_rules jsonb, draft_row bigint, draft_until bigint
        )"""
    )
    op.execute(
        """create table series (
            workspace text not null, generation integer not null, id uuid not null, name text collate "C" not null,
            metric text not null, survey_type text not null,
            touchpoint text, department text, product text, segment text, channel text, wave text,
            primary key (workspace, generation, id)
        )"""
    )
    op.execute("create unique index series_name on series (workspace, generation, name)")
    op.execute(
        """create table rules (
            workspace text primary key, version bigint not null, body jsonb not null, changed_at timestamptz not null
        )"""
    )
    protect(op.execute, "block", "day", "series", "score", "progress", grants="select")
    protect(op.execute, "rules", grants="select, insert, update")
