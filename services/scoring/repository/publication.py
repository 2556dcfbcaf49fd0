"""SQL of the list of series, and of what was published of them."""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from services.scoring.domain.answers import DIMENSIONS
from services.scoring.domain.series import SeriesKey, series_id, series_name
from services.scoring.repository.common import arrays, key_of
from shared.contracts.score_updated import Window
from shared.db.unit_of_work import UnitOfWork

_SERIES_COLUMNS = {
    "id": "uuid",
    "name": "text",
    "metric": "text",
    "survey_type": "text",
    **dict.fromkeys(DIMENSIONS, "text"),
}
_KEEP_SERIES = text(
    f"""insert into series (workspace, generation, {", ".join(_SERIES_COLUMNS)})
    select :workspace, :generation, * from unnest({arrays(_SERIES_COLUMNS)}) on conflict do nothing"""  # noqa: S608 - names of ours
)
_PUBLISHED = text(
    """select series, span, publication, content,
        extract(epoch from clock_timestamp() - published_at)::float8 as age from score
    join unnest(cast(:wanted_series as uuid[]), cast(:wanted_spans as text[])) as wanted (series, span)
        using (series, span)
    where workspace = :workspace"""
)
_SETTLE = text(
    """insert into score (workspace, series, span, published_at, publication, content)
    select :workspace, series, span, clock_timestamp(), publication, cast(content as jsonb)
    from unnest(cast(:series as uuid[]), cast(:spans as text[]), cast(:publications as bigint[]),
                cast(:contents as text[])) as settled (series, span, publication, content)
    on conflict (workspace, series, span) do update
    set published_at = excluded.published_at, publication = excluded.publication, content = excluded.content"""
)
_ON_DAYS = text(
    """select held.series, held.day, held.measure, held.hours from series
    join day as held on held.workspace = :workspace and held.generation = :generation and held.series = series.id
        and held.day between :low and :high and held.n <> 0
    where series.workspace = :workspace and series.generation = :generation"""
)


@dataclass(frozen=True, slots=True)
class Published:
    """What was published last of a series in a window, and when, by the monotonic clock of this process."""

    at: float
    publication: int
    content: Mapping[str, Any]


async def keep_series(uow: UnitOfWork, workspace: str, generation: int, keys: Iterable[SeriesKey]) -> None:
    """Make sure that series are listed."""
    values: dict[str, list[Any]] = {name: [] for name in _SERIES_COLUMNS}
    for key in sorted(keys, key=series_id):
        dimensions = dict(key.dimensions)
        row = (series_id(key), series_name(key), key.metric, key.survey_type, *map(dimensions.get, DIMENSIONS))
        for name, value in zip(_SERIES_COLUMNS, row, strict=True):
            values[name].append(value)
    await uow.execute(_KEEP_SERIES, {"workspace": workspace, "generation": generation, **values})


async def all_series(uow: UnitOfWork, workspace: str, generation: int) -> list[SeriesKey]:
    """The keys of all series."""
    statement = "select * from series where workspace = :workspace and generation = :generation"
    return [key_of(row) for row in await uow.execute(statement, {"workspace": workspace, "generation": generation})]


async def published(
    uow: UnitOfWork, workspace: str, wanted: Sequence[tuple[str, Window]]
) -> dict[tuple[str, Window], Published]:
    """What was published last of series in windows."""
    series, spans = zip(*wanted, strict=True)
    values = {"workspace": workspace, "wanted_series": list(series), "wanted_spans": list(spans)}
    return {
        (row.series.hex, row.span): Published(time.monotonic() - row.age, row.publication, row.content)
        for row in await uow.execute(_PUBLISHED, values)
    }


async def ever_published(uow: UnitOfWork, workspace: str) -> list[tuple[str, Window]]:
    """All (series, window) of which anything was published."""
    statement = "select series, span from score where workspace = :workspace"
    return [(row.series.hex, row.span) for row in await uow.execute(statement, {"workspace": workspace})]


async def settle(uow: UnitOfWork, workspace: str, sent: Mapping[tuple[str, Window], Published]) -> None:
    """Note what is published now."""
    values = {
        "series": [series for series, _ in sent],
        "spans": [span for _, span in sent],
        "publications": [one.publication for one in sent.values()],
        "contents": [json.dumps(one.content) for one in sent.values()],
    }
    await uow.execute(_SETTLE, {"workspace": workspace, **values})


async def rows_between(uow: UnitOfWork, workspace: str, generation: int, low: int, high: int) -> Sequence[Any]:
    """All day rows (series, day, measure, hours) of a workspace on days `low` … `high`."""
    values = {"workspace": workspace, "generation": generation, "low": low, "high": high}
    return (await uow.execute(_ON_DAYS, values)).all()


async def forget_generations(uow: UnitOfWork, workspace: str, kept: Collection[int], limit: int) -> bool:
    """Delete sums and series of other generations, at most `limit` rows of each; True when there may be more."""
    deleted = 0
    for table in ("day", "series", "given", "repeat"):
        statement = f"""delete from {table} where ctid in (
            select ctid from {table} where workspace = :workspace and generation <> all(cast(:kept as integer[]))
            limit :limit)"""  # noqa: S608 - tables of ours
        result = await uow.execute(statement, {"workspace": workspace, "kept": list(kept), "limit": limit})
        deleted = max(deleted, result.rowcount)
    return deleted == limit
