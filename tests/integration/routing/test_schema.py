from sqlalchemy.ext.asyncio import create_async_engine

from services.routing.models import metadata
from shared.db.migrate import drift


async def test_models_and_migrations_agree(database_url: str) -> None:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(drift, "routing", metadata) == []
    finally:
        await engine.dispose()


async def test_every_table_with_a_workspace_is_confined(database_url: str) -> None:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    open_tables = """
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace'
        where n.nspname = 'routing' and c.relkind = 'r' and not (c.relrowsecurity and c.relforcerowsecurity)"""
    try:
        async with engine.connect() as connection:
            assert list((await connection.exec_driver_sql(open_tables)).scalars()) == []
    finally:
        await engine.dispose()
