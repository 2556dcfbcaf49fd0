"""What the catalog must say of every schema after the migrations: the wall between workspaces has no gap."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.db.database import API_ROLE
from shared.db.embedded import EmbeddedPostgres
from tests.support.harness import SCHEMA, database
from tests.support.postgres import fresh_database

# Only own schemas: the platform's, the bus's and the services'.
_OURS = "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'public')"
_TABLES = f"""
select c.oid, n.nspname || '.' || c.relname as name, c.relname, c.relrowsecurity, c.relforcerowsecurity,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'workspace' and not attisdropped)
           as has_workspace,
       (select coalesce(array_agg(privilege order by privilege), array[]::text[])
        from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) privilege
        where has_table_privilege('{API_ROLE}', c.oid, privilege)
           or privilege in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
              and has_any_column_privilege('{API_ROLE}', c.oid, privilege)) as granted
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and {_OURS}"""
_UNIQUE = f"""
select n.nspname || '.' || c.relname || ': ' || i.relname as name,
       array_agg(a.attname::text) as columns, array_agg(format_type(a.atttypid, null)) as types
from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum = any(x.indkey)
where x.indisunique and {_OURS}
  and exists (select from pg_attribute w where w.attrelid = c.oid and w.attname = 'workspace')
  and has_any_column_privilege('{API_ROLE}', c.oid, 'SELECT, INSERT, UPDATE')
group by 1"""
_FOREIGN = f"""
select n.nspname || '.' || c.relname || ': ' || k.conname as name
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and {_OURS}
  and has_any_column_privilege('{API_ROLE}', c.oid, 'SELECT, INSERT, UPDATE')
  and exists (select from pg_attribute w where w.attrelid = k.confrelid and w.attname = 'workspace')
  and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'workspace'
                  and a.attnum = any(k.conkey))"""
# All that requests may do to a table that has no workspace in it.
_WITHOUT_WORKSPACE = {"outbox": ["INSERT"]}


@pytest.fixture(scope="module")
async def catalog(postgres: EmbeddedPostgres) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    with fresh_database(postgres) as url:
        async with database(url):
            pass  # a schema with the runtime's tables, as every service has
        connection = await asyncpg.connect(url)
        try:
            yield connection
        finally:
            await connection.close()


async def test_there_is_something_to_look_at(catalog: "asyncpg.Connection[asyncpg.Record]") -> None:
    tables = await catalog.fetch(_TABLES)
    assert {"platform.api_key", "bus.record", f"{SCHEMA}.timer"} <= {table["name"] for table in tables}
    assert {table["relname"] for table in tables if table["granted"]} >= {"timer", "dead_letter", "outbox"}


async def test_every_table_of_a_workspace_forces_row_level_security(
    catalog: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    tables = [table for table in await catalog.fetch(_TABLES) if table["granted"] and table["has_workspace"]]
    open_ones = [table["name"] for table in tables if not (table["relrowsecurity"] and table["relforcerowsecurity"])]
    assert open_ones == []
    for table in tables:
        policies = await catalog.fetch(
            "select qual, with_check from pg_policies where schemaname || '.' || tablename = $1 "
            "and $2 = any(roles) and cmd = 'ALL'",
            table["name"],
            API_ROLE,
        )
        expected = "(workspace = current_setting('app.workspace'::text))"
        assert [tuple(policy) for policy in policies] == [(expected, expected)], table["name"]


async def test_requests_touch_nothing_that_has_no_workspace(catalog: "asyncpg.Connection[asyncpg.Record]") -> None:
    tables = [table for table in await catalog.fetch(_TABLES) if table["granted"] and not table["has_workspace"]]
    assert [
        (table["name"], table["granted"])
        for table in tables
        if table["granted"] != _WITHOUT_WORKSPACE.get(table["relname"])
    ] == []


async def test_nobody_may_truncate_or_add_triggers(catalog: "asyncpg.Connection[asyncpg.Record]") -> None:
    tables = await catalog.fetch(_TABLES)
    assert [t["name"] for t in tables if {"TRUNCATE", "TRIGGER", "REFERENCES"} & set(t["granted"])] == []


async def test_the_workspace_is_part_of_every_unique_key(catalog: "asyncpg.Connection[asyncpg.Record]") -> None:
    """A unique key without it would tell one workspace what another has. A random id tells nothing."""
    keys = await catalog.fetch(_UNIQUE)
    assert [key["name"] for key in keys if "workspace" not in key["columns"] and key["types"] != ["uuid"]] == []


async def test_the_workspace_is_part_of_every_foreign_key(catalog: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert [key["name"] for key in await catalog.fetch(_FOREIGN)] == []


async def test_views_ask_with_the_rights_of_who_asks(catalog: "asyncpg.Connection[asyncpg.Record]") -> None:
    views = await catalog.fetch(
        f"select c.relname, c.relkind, c.reloptions from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        f"where c.relkind in ('v', 'm') and {_OURS} "
        f"and has_any_column_privilege('{API_ROLE}', c.oid, 'SELECT, INSERT, UPDATE')"
    )
    assert [v["relname"] for v in views if "security_invoker=true" not in (v["reloptions"] or [])] == []


async def test_the_role_of_requests_owns_nothing_and_bypasses_nothing(
    catalog: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    role = await catalog.fetchrow("select * from pg_roles where rolname = $1", API_ROLE)
    assert role is not None
    assert not any(role[name] for name in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolcanlogin"))
    assert await catalog.fetchval("select count(*) from pg_class where relowner = $1::oid", role["oid"]) == 0
    assert await catalog.fetchval("select count(*) from pg_auth_members where member = $1::oid", role["oid"]) == 0
    schemas = await catalog.fetch(
        "select nspname from pg_namespace where nspowner = $1::oid or has_schema_privilege($1::oid, oid, 'CREATE')",
        role["oid"],
    )
    assert schemas == []


async def test_functions_with_their_owners_rights_have_a_fixed_search_path(
    catalog: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    functions = await catalog.fetch(
        f"select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.prosecdef and {_OURS} "
        "and not exists (select from unnest(p.proconfig) setting where setting like 'search_path=%')"
    )
    assert functions == []
