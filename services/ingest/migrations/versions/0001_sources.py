"""Sources, and the tables that every service has."""

from alembic import op

from shared.db import runtime_tables
from shared.db.workspaces import protect

revision = "0001"
down_revision = None


def upgrade() -> None:
    runtime_tables.create(op.execute)
    op.execute(
        """create table source (
            workspace text not null, name text not null, connector text not null,
            key text not null, settings json not null, secrets bytea not null,
            enabled boolean not null default true,
            created_at timestamptz not null default clock_timestamp(),
            changed_at timestamptz not null default clock_timestamp(),
            primary key (workspace, name)
        )"""
    )
    op.execute("comment on column source.key is 'last part of its address; 256 random bits'")
    op.execute("comment on column source.secrets is 'JSON list, newest first, encrypted with SECRETS_KEY'")
    op.execute("create index source_key on source (key)")
    protect(op.execute, "source")
