"""All SQL of ingest."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.exc import IntegrityError

from services.ingest.models import source
from shared.core.errors import Conflict
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork


async def version(reader: Reader) -> tuple[int, datetime | None]:
    """Changes whenever any source does."""
    row = await reader.first(select(func.count().label("number"), func.max(source.c.changed_at).label("changed_at")))
    return (0, None) if row is None else (row.number, row.changed_at)


async def enabled(reader: Reader) -> Sequence[Row[Any]]:
    """Every source that takes deliveries, of all workspaces."""
    return await reader.all(select(source).where(source.c.enabled))


async def page(reader: Reader, workspace: str, after: str, limit: int) -> Sequence[Row[Any]]:
    """Sources of a workspace by name, those after `after`."""
    found = select(source).where(source.c.workspace == workspace, source.c.name > after)
    return await reader.all(found.order_by(source.c.name).limit(limit))


async def one(uow: UnitOfWork, workspace: str, name: str, *, lock: bool = False) -> Row[Any] | None:
    """One source, disabled or not."""
    query = select(source).where(source.c.workspace == workspace, source.c.name == name)
    return (await uow.execute(query.with_for_update() if lock else query)).first()


async def add(uow: UnitOfWork, fields: Mapping[str, Any]) -> None:
    """Store a new source. Raises Conflict where the workspace has one of that name."""
    try:
        await uow.execute(source.insert().values(**fields))
    except IntegrityError:
        raise Conflict(f"there is a source {fields['name']!r} already; choose another name or change it") from None


async def update(uow: UnitOfWork, workspace: str, name: str, **columns: Any) -> bool:
    """Set `secrets`, `enabled` or `settings`; False where there is no such source."""
    change = source.update().where(source.c.workspace == workspace, source.c.name == name)
    result = await uow.execute(change.values(**columns, changed_at=func.clock_timestamp()))
    return result.rowcount > 0
