"""Alerts, and the hour that was looked at for them."""

from alembic import op

from shared.db.workspaces import protect

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("alter table progress add column looked integer not null default 0")
    op.execute(
        """create table alert (
            workspace text not null, id uuid not null, series uuid not null, name text not null, kind text not null,
            raised_at timestamptz not null, ended_at timestamptz, evidence jsonb not null, held_against jsonb,
            primary key (workspace, id)
        )"""
    )
    op.execute("create unique index alert_once on alert (workspace, name, kind) where ended_at is null")
    op.execute("create index alert_raised on alert (workspace, raised_at)")
    protect(op.execute, "alert", grants="select")
