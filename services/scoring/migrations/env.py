"""Alembic environment of the `scoring` schema."""

from services.scoring.models import metadata
from shared.db.migrate import run_environment

run_environment(metadata)
