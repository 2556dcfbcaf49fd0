"""SQL of what is published, and of how far a workspace is counted and published."""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from services.scoring.domain.answers import DIMENSIONS
from services.scoring.domain.series import SeriesKey, series_id, series_name
from services.scoring.repository.common import arrays, key_of
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_LOCK = text("select * from progress where workspace = :workspace for update")
_BEGIN = text("insert into progress (workspace, hour) values (:workspace, :hour) on conflict do nothing")
_SAVE = text(
    """update progress set next_row = :next_row, published_row = :published_row, hour = :hour, passes = passes + 1
    where workspace = :workspace"""
)
# What is committed while the clock of a workspace stands in an earlier hour, or was not published before a crash, is
# found here too; what a living projector holds back it knows itself.
_WAITING = text(
    """select workspace from block where first_row is null
    union select workspace from progress where hour < :hour or published_row < next_row or published_row < 0"""
)
_SERIES_COLUMNS = {
    "id": "uuid",
    "name": "text",
    "metric": "text",
    "survey_type": "text",
    **dict.fromkeys(DIMENSIONS, "text"),
}
_KEEP_SERIES = text(
    f"""insert into series (workspace, {", ".join(_SERIES_COLUMNS)})
    select :workspace, * from unnest({arrays(_SERIES_COLUMNS)}) on conflict do nothing"""  # noqa: S608 - names of ours
)
_PUBLISHED = text(
    """select series, days, publication, content,
        extract(epoch from clock_timestamp() - published_at)::float8 as age from score
    join unnest(cast(:wanted_series as uuid[]), cast(:wanted_days as smallint[])) as wanted (series, days)
        using (series, days)
    where workspace = :workspace"""
)
_SETTLE = text(
    """insert into score (workspace, series, days, published_at, publication, content)
    select :workspace, series, days, clock_timestamp(), publication, cast(content as jsonb)
    from unnest(cast(:series as uuid[]), cast(:days as smallint[]), cast(:publications as bigint[]),
                cast(:contents as text[])) as settled (series, days, publication, content)
    on conflict (workspace, series, days) do update
    set published_at = excluded.published_at, publication = excluded.publication, content = excluded.content"""
)
_ON_DAYS = text(
    """select held.series, held.day, held.measure, held.hours from series
    join day as held on held.workspace = :workspace and held.series = series.id
        and held.day = any(cast(:days as integer[])) and held.n <> 0
    where series.workspace = :workspace"""
)


class Progress(NamedTuple):
    """How far a workspace is: the next row to be counted, the first one whose effect may not be published yet (below
    0: all that was ever published has to be looked at), and the hour up to which windows have moved. `passes` counts
    the transactions that changed it."""

    next_row: int
    published_row: int
    hour: int
    passes: int


@dataclass(frozen=True, slots=True)
class Published:
    """What was published last of a series in a window, and when, by the monotonic clock of this process."""

    at: float
    publication: int
    content: Mapping[str, Any]


async def lock(uow: UnitOfWork, workspace: str, hour: int) -> Progress:
    """How far a workspace is; nobody else changes it until the transaction ends. A new one begins at `hour`."""
    row = (await uow.execute(_LOCK, {"workspace": workspace})).first()
    if row is None:
        await uow.execute(_BEGIN, {"workspace": workspace, "hour": hour})
        row = (await uow.execute(_LOCK, {"workspace": workspace})).one()
    return Progress(row.next_row, row.published_row, row.hour, row.passes)


async def save(uow: UnitOfWork, workspace: str, now: Progress, published_row: int, hour: int) -> Progress:
    """How far a locked workspace is now; `published_row` and `hour` are where a fresh process has to begin again."""
    await uow.execute(
        _SAVE, {"workspace": workspace, "next_row": now.next_row, "published_row": published_row, "hour": hour}
    )
    return now._replace(published_row=published_row, passes=now.passes + 1)


async def waiting(reader: Reader, hour: int) -> set[str]:
    """Workspaces with something to count or to publish."""
    return {row.workspace for row in await reader.all(_WAITING, {"hour": hour})}


async def keep_series(uow: UnitOfWork, workspace: str, keys: Iterable[SeriesKey]) -> None:
    """Make sure that series are listed."""
    values: dict[str, list[Any]] = {name: [] for name in _SERIES_COLUMNS}
    for key in sorted(keys, key=series_id):
        dimensions = dict(key.dimensions)
        row = (series_id(key), series_name(key), key.metric, key.survey_type, *map(dimensions.get, DIMENSIONS))
        for name, value in zip(_SERIES_COLUMNS, row, strict=True):
            values[name].append(value)
    await uow.execute(_KEEP_SERIES, {"workspace": workspace, **values})


async def series_named(uow: UnitOfWork, workspace: str, ids: Collection[UUID]) -> list[SeriesKey]:
    """The keys of stored series."""
    statement = "select * from series where workspace = :workspace and id = any(cast(:ids as uuid[]))"
    return [key_of(row) for row in await uow.execute(statement, {"workspace": workspace, "ids": list(ids)})]


async def published(
    uow: UnitOfWork, workspace: str, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Published]:
    """What was published last of (series, days)."""
    series, days = zip(*wanted, strict=True)
    values = {"workspace": workspace, "wanted_series": list(series), "wanted_days": list(days)}
    return {
        (row.series.hex, row.days): Published(time.monotonic() - row.age, row.publication, row.content)
        for row in await uow.execute(_PUBLISHED, values)
    }


async def ever_published(uow: UnitOfWork, workspace: str) -> list[tuple[str, int]]:
    """All (series, days) of which anything was published."""
    statement = "select series, days from score where workspace = :workspace"
    return [(row.series.hex, row.days) for row in await uow.execute(statement, {"workspace": workspace})]


async def settle(uow: UnitOfWork, workspace: str, sent: Mapping[tuple[str, int], Published]) -> None:
    """Note what is published now."""
    values = {
        "series": [series for series, _ in sent],
        "days": [days for _, days in sent],
        "publications": [one.publication for one in sent.values()],
        "contents": [json.dumps(one.content) for one in sent.values()],
    }
    await uow.execute(_SETTLE, {"workspace": workspace, **values})


async def rows_on(uow: UnitOfWork, workspace: str, days: Collection[int]) -> Sequence[Any]:
    """All day rows (series, day, measure, hours) of a workspace on some days."""
    return (await uow.execute(_ON_DAYS, {"workspace": workspace, "days": sorted(days)})).all()
