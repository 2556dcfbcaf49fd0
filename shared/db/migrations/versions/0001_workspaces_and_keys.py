"""Workspaces and API keys."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """create table workspace (
            name text primary key, created_at timestamptz not null default clock_timestamp()
        )"""
    )
    op.execute(
        """create table api_key (
            id text primary key, workspace text not null references workspace (name), name text not null,
            roles text[] not null, secret_hash text not null,
            created_at timestamptz not null default clock_timestamp(), revoked_at timestamptz
        )"""
    )
    op.execute("create index ix_api_key_workspace on api_key (workspace)")
