"""Alembic environment of the `notifier` schema."""

from services.notifier.models import metadata
from shared.db.migrate import run_environment

run_environment(metadata)
