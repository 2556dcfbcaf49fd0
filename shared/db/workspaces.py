"""Row-level security: a request sees the rows of its own workspace, whatever its SQL forgets (security.md 2)."""

from collections.abc import Callable

from shared.db.database import API_ROLE

ENSURE_API_ROLE = f"""
do $$ begin
    begin
        if not exists (select from pg_roles where rolname = '{API_ROLE}') then
            create role {API_ROLE} nologin;
        end if;
    exception when duplicate_object or unique_violation then null; -- another database's node was first
    end;
    if not pg_has_role(current_user, '{API_ROLE}', 'member') then
        execute format('grant {API_ROLE} to %I', current_user);
    end if;
end $$"""


def protect(execute: Callable[[str], object], *tables: str, grants: str = "select, insert, update, delete") -> None:
    """For migrations: confine requests to the rows of their workspace in `tables` (each has a `workspace` column);
    workers, who own the tables, go on serving all workspaces."""
    for table in tables:
        execute(f"alter table {table} enable row level security")
        execute(f"alter table {table} force row level security")
        execute(
            f"create policy requests on {table} to {API_ROLE} "
            "using (workspace = current_setting('app.workspace')) "
            "with check (workspace = current_setting('app.workspace'))"
        )
        execute(f"create policy workers on {table} to current_user using (true) with check (true)")
        execute(f"grant {grants} on {table} to {API_ROLE}")
