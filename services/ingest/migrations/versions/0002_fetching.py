"""What is to be fetched from vendors' APIs, and the tokens for them."""

from alembic import op

from shared.db.workspaces import protect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table source add column token bytea")
    op.execute("comment on column source.token is 'of the API of the vendor, encrypted with SECRETS_KEY'")
    op.execute("alter table source add column fetch_after timestamptz not null default 'epoch'")
    op.execute("comment on column source.fetch_after is 'before this nothing of it is fetched: its pace, or a refusal'")
    op.execute(
        """create table wanted (
            workspace text not null, source text not null, object text not null,
            detail json not null,
            due_at timestamptz not null default clock_timestamp(),
            first_due_at timestamptz not null default clock_timestamp(),
            attempts integer not null default 0,
            version bigint not null default 0,
            claims bigint not null default 0,
            leased_until timestamptz,
            primary key (workspace, source, object),
            foreign key (workspace, source) references source (workspace, name) on delete cascade
        )"""
    )
    op.execute("comment on column wanted.version is 'how often it was wanted again while it was here'")
    op.execute("comment on column wanted.claims is 'number of the lease: who has another has lost it'")
    op.execute("create index wanted_due on wanted (workspace, source, due_at)")
    protect(op.execute, "wanted")
