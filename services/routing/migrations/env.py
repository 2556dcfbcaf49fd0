"""Alembic environment of the `routing` schema."""

from services.routing.models import metadata
from shared.db.migrate import run_environment

run_environment(metadata)
