"""Alembic environment of the `platform` schema."""

from shared.db.migrate import run_environment
from shared.db.platform import metadata

run_environment(metadata)
