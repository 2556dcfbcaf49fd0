"""What became of cases, and what managers write into reports."""

from alembic import op

from shared.db.workspaces import protect

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        """create table care (
            workspace text not null, id uuid not null, sequence integer not null, customer_id uuid,
            department text, detractor boolean not null, opened_at timestamptz not null,
            due_at timestamptz, answered_at timestamptz, answered_seconds double precision,
            resolved_at timestamptz, cause text, action text,
            primary key (workspace, id)
        )"""
    )
    op.execute("create index care_opened on care (workspace, opened_at)")
    op.execute("create index care_answered on care (workspace, answered_at) where answered_at is not null")
    op.execute("create index care_resolved on care (workspace, resolved_at) where resolved_at is not null")
    op.execute(
        """create table obstacles (
            workspace text not null, department text not null, quarter text not null,
            body text not null, changed_at timestamptz not null,
            primary key (workspace, department, quarter)
        )"""
    )
    protect(op.execute, "care")
    protect(op.execute, "obstacles")
