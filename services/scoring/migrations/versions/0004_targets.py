"""Targets of series."""

from alembic import op

from shared.db.workspaces import protect

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """create table target (
            workspace text not null, series uuid not null, span text not null, due date not null,
            value double precision, metric text not null, survey_type text not null,
            dimensions jsonb not null, set_at timestamptz not null default clock_timestamp(),
            fresh boolean not null default true, met boolean not null default false,
            primary key (workspace, series, span, due)
        )"""
    )
    op.execute("create index target_fresh on target (workspace) where fresh")
    protect(op.execute, "target")
