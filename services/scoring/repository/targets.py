"""SQL of targets: values that a series shall have on a date."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.scoring.domain.series import SeriesKey, series_id
from services.scoring.repository.common import rows_of
from shared.contracts.score_updated import Window
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_SET = text(
    """insert into target (workspace, series, span, due, value, metric, survey_type, dimensions)
    values (:workspace, :series, :span, :due, :value, :metric, :survey_type, cast(:dimensions as jsonb))
    on conflict (workspace, series, span, due) do update
    set value = excluded.value, set_at = clock_timestamp(), fresh = true, met = false"""
)
_REMOVE = text(
    """update target set value = null, fresh = true
    where workspace = :workspace and series = :series and span = :span and due = :due and value is not null"""
)
_ALL = text("select * from target where workspace = :workspace and value is not null order by due, series, span")
# Of each series and window the next one to come.
_NEXT = text(
    """select distinct on (series, span) * from target
    where workspace = :workspace and value is not null and due >= :today and series = any(cast(:series as uuid[]))
    order by series, span, due"""
)
# What was taken back stands there without a value until its series has been published without it.
_FRESH = text(
    """with gone as (delete from target where workspace = :workspace and value is null returning series, span),
        seen as (update target set fresh = false where workspace = :workspace and fresh and value is not null
                 returning series, span)
    select * from gone union all select * from seen"""
)
_MET = text(
    """update target set met = told.met
    from unnest(cast(:series as uuid[]), cast(:spans as text[]), cast(:dues as date[]), cast(:mets as boolean[]))
        as told (series, span, due, met)
    where workspace = :workspace and target.series = told.series and target.span = told.span
        and target.due = told.due"""
)
_WAKE = "select pg_notify('scoring_block', '')"


@dataclass(frozen=True, slots=True)
class Target:
    """A value for a series in a window on a day. `met`: it was reached at the last look."""

    key: SeriesKey
    window: Window
    due: date
    value: float
    met: bool = False


async def keep(uow: UnitOfWork, target: Target) -> None:
    """Set a target; one on the same day is replaced. Wakes the projector at the commit."""
    key = target.key
    await uow.execute(
        _SET,
        {
            **_address(target),
            "value": target.value,
            "metric": key.metric,
            "survey_type": key.survey_type,
            "dimensions": json.dumps(dict(key.dimensions)),
        },
    )
    await uow.execute(_WAKE)


async def remove(uow: UnitOfWork, target: Target) -> bool:
    """Take a target back; False where there is none."""
    removed = await uow.execute(_REMOVE, _address(target))
    await uow.execute(_WAKE)
    return removed.rowcount > 0


async def all_of(reader: Reader, workspace: str) -> list[Target]:
    """All targets, the next first."""
    return [_target(workspace, row) for row in await reader.all(_ALL, {"workspace": workspace})]


async def coming(
    connection: Reader | UnitOfWork, workspace: str, today: date, series: Collection[str]
) -> dict[tuple[str, Window], Target]:
    """The next target of each series and window that has one."""
    values = {"workspace": workspace, "today": today, "series": list(series)}
    found = await rows_of(connection, _NEXT, values)
    return {(row.series.hex, row.span): _target(workspace, row) for row in found}


async def taken_fresh(uow: UnitOfWork, workspace: str) -> list[tuple[UUID, Window]]:
    """(series, window) whose targets were set or taken back since the last call."""
    return [(row.series, row.span) for row in await uow.execute(_FRESH, {"workspace": workspace})]


async def told(uow: UnitOfWork, workspace: str, met: Sequence[tuple[Target, bool]]) -> None:
    """Note which targets are met."""
    await uow.execute(
        _MET,
        {
            "workspace": workspace,
            "series": [series_id(target.key) for target, _ in met],
            "spans": [target.window for target, _ in met],
            "dues": [target.due for target, _ in met],
            "mets": [is_met for _, is_met in met],
        },
    )


def _address(target: Target) -> dict[str, Any]:
    key = target.key
    return {"workspace": key.workspace, "series": series_id(key), "span": target.window, "due": target.due}


def _target(workspace: str, row: Any) -> Target:
    key = SeriesKey(workspace, row.metric, row.survey_type, tuple(sorted(row.dimensions.items())))
    return Target(key, row.span, row.due, row.value, row.met)
