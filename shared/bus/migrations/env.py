"""Alembic environment of the `bus` schema. Its tables are plain SQL: the bus speaks asyncpg, it has no models."""

from sqlalchemy import MetaData

from shared.db.migrate import run_environment

run_environment(MetaData())
