"""Answers by person, where one per person and survey counts in a window."""

from alembic import op

from shared.db.workspaces import protect

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """create table given (
            workspace text not null, generation integer not null, person uuid not null, survey text not null,
            metric text not null, at bigint not null, feedback uuid not null, hour integer not null,
            measure text not null, n integer not null, top integer not null, bottom integer not null,
            total numeric not null, squares numeric not null, series text not null,
            primary key (workspace, generation, person, survey, metric, at, feedback)
        )"""
    )
    op.execute(
        """create table repeat (
            workspace text not null, generation integer not null, series uuid not null, measure text not null,
            later integer not null, earlier integer not null, n integer not null, top integer not null,
            bottom integer not null, total numeric not null, squares numeric not null,
            primary key (workspace, generation, series, measure, later, earlier)
        )"""
    )
    op.execute("create index repeat_later on repeat (workspace, generation, later)")
    protect(op.execute, "given")
    protect(op.execute, "repeat")
