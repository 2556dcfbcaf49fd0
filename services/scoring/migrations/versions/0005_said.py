"""What messages say: issues as a dimension; and until when the answers of a block reach."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("alter table series add column issue text")
    # Microseconds since 1970. Nobody has looked into the blocks that are there already, or that the version before
    # this one stores during an upgrade: they may reach to any time.
    op.execute("alter table block add column latest bigint not null default 9223372036854775807")
