"""Alembic environment of the `ingest` schema."""

from services.ingest.models import metadata
from shared.db.migrate import run_environment

run_environment(metadata)
