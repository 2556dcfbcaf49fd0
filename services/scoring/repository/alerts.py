"""SQL of alerts: one row from the raising to the end, with its evidence."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_RAISE = text(
    """insert into alert (workspace, id, series, name, kind, raised_at, evidence, held_against)
    values (:workspace, :id, :series, :name, :kind, :raised_at, cast(:evidence as jsonb), cast(:held_against as jsonb))
    on conflict do nothing"""
)
_END = text("update alert set ended_at = :ended_at where workspace = :workspace and id = any(cast(:ids as uuid[]))")
_ACTIVE = text("select * from alert where workspace = :workspace and ended_at is null")
_DAYS = text(
    """select series, day, measure, n from day
    where workspace = :workspace and generation = :generation and day = any(cast(:days as integer[]))
      and series = any(cast(:series as uuid[]))"""
)
_LIST = text(
    """select * from alert where workspace = :workspace and (not :active or ended_at is null)
      and (cast(:before as timestamptz) is null or (raised_at, id) < (:before, cast(:before_id as uuid)))
    order by raised_at desc, id desc limit :limit"""
)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert; `held_against` is what a change was compared with, so that its end can be told."""

    id: UUID
    series: str
    name: str
    kind: str
    raised_at: datetime
    ended_at: datetime | None
    evidence: Mapping[str, Any]
    held_against: Mapping[str, Any] | None


async def raised(uow: UnitOfWork, workspace: str, alert: Alert) -> None:
    """Keep an alert that is raised now."""
    await uow.execute(
        _RAISE,
        {
            "workspace": workspace,
            "id": alert.id,
            "series": alert.series,
            "name": alert.name,
            "kind": alert.kind,
            "raised_at": alert.raised_at,
            "evidence": json.dumps(alert.evidence),
            "held_against": None if alert.held_against is None else json.dumps(alert.held_against),
        },
    )


async def ended(uow: UnitOfWork, workspace: str, ids: Collection[UUID], at: datetime) -> None:
    """These are over."""
    await uow.execute(_END, {"workspace": workspace, "ids": list(ids), "ended_at": at})


async def active(uow: UnitOfWork, workspace: str) -> list[Alert]:
    """The alerts that have not ended."""
    return [_alert(row) for row in await uow.execute(_ACTIVE, {"workspace": workspace})]


async def listed(
    reader: Reader, workspace: str, *, only_active: bool, before: tuple[datetime, UUID] | None, limit: int
) -> list[Alert]:
    """Alerts, the latest first, raised before a place in that order."""
    moment, identity = before or (None, None)
    values = {"workspace": workspace, "active": only_active, "before": moment, "before_id": identity, "limit": limit}
    return [_alert(row) for row in await reader.all(_LIST, values)]


async def counts_on(
    uow: UnitOfWork, workspace: str, generation: int, series: Sequence[str], days: Sequence[int]
) -> dict[tuple[str, int], int]:
    """(series, day) → answers, whatever their measure."""
    values = {"workspace": workspace, "generation": generation, "series": list(series), "days": list(days)}
    found: dict[tuple[str, int], int] = {}
    for row in await uow.execute(_DAYS, values):
        found[row.series.hex, row.day] = found.get((row.series.hex, row.day), 0) + row.n
    return found


def _alert(row: Any) -> Alert:
    return Alert(
        row.id, row.series.hex, row.name, row.kind, row.raised_at, row.ended_at, row.evidence, row.held_against
    )
