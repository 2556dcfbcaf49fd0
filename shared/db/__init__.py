"""PostgreSQL: engine, the unit of work (the only place that commits), migrations, tables that every consumer has."""

from shared.db.database import Database, Reader, is_outage
from shared.db.unit_of_work import Encoded, UnitOfWork

__all__ = ["Database", "Encoded", "Reader", "UnitOfWork", "is_outage"]
