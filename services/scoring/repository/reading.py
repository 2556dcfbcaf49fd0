"""SQL of reading: sums of windows, days of history, the list of series."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Row, text

from services.scoring.domain.answers import DIMENSIONS, SeriesKey, series_id
from services.scoring.domain.scores import Measured, Segments, Tally
from services.scoring.domain.windows import Span
from services.scoring.repository.common import key_of, rows_of
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_SUMS = text(
    """select wanted.workspace, wanted.series, span.segment, held.measure,
        sum(held.n) as n, sum(held.top) as top, sum(held.bottom) as bottom,
        sum(held.total) as total, sum(held.squares) as squares
    from unnest(cast(:workspaces as text[]), cast(:series as uuid[])) as wanted (workspace, series)
    cross join unnest(cast(:segments as integer[]), cast(:grains as text[]), cast(:lows as integer[]),
                      cast(:highs as integer[])) as span (segment, grain, low, high)
    cross join lateral (
        select measure, sum(n) as n, sum(top) as top, sum(bottom) as bottom, sum(total) as total,
               sum(squares) as squares
        from bucket
        where bucket.workspace = wanted.workspace and bucket.series = wanted.series and bucket.grain = span.grain
          and slot between span.low and span.high
        group by measure
    ) as held
    where held.n <> 0
    group by wanted.workspace, wanted.series, span.segment, held.measure"""
)
_DAILY = text(
    """select slot, measure, n, top, bottom, total, squares from bucket
    where workspace = :workspace and series = :series and grain = 'd' and slot between :first and :last and n <> 0
    order by slot"""
)


async def sums(
    connection: Reader | UnitOfWork, keys: Sequence[SeriesKey], spans: Sequence[Span]
) -> dict[SeriesKey, Segments]:
    """The sums of each series by segment (domain/windows.py) and measure."""
    by_id = {series_id(key): key for key in keys}
    values = {
        "workspaces": [key.workspace for key in by_id.values()],
        "series": list(by_id),
        "segments": [span.segment for span in spans],
        "grains": [span.grain for span in spans],
        "lows": [span.low for span in spans],
        "highs": [span.high for span in spans],
    }
    found: dict[SeriesKey, dict[int, dict[str, Tally]]] = {key: defaultdict(dict) for key in keys}
    for row in await rows_of(connection, _SUMS, values):
        found[by_id[row.series.hex]][row.segment][row.measure] = _tally(row)
    return cast("dict[SeriesKey, Segments]", found)


async def daily(reader: Reader, key: SeriesKey, first: int, last: int) -> dict[int, Measured]:
    """Sums per UTC day (days since 1970) that has answers."""
    values = {"workspace": key.workspace, "series": series_id(key), "first": first, "last": last}
    found: dict[int, dict[str, Tally]] = defaultdict(dict)
    for row in await reader.all(_DAILY, values):
        found[row.slot][row.measure] = _tally(row)
    return cast("dict[int, Measured]", found)


def _tally(row: Row[Any]) -> Tally:
    return Tally(int(row.n), int(row.top), int(row.bottom), int(row.total), int(row.squares))


async def list_series(
    reader: Reader,
    workspace: str,
    *,
    metric: str | None,
    survey_type: str | None,
    dimensions: Mapping[str, str],
    by: Sequence[str] | None,
    days: Sequence[int],
    after: tuple[str, int],
    limit: int,
) -> list[tuple[SeriesKey, int]]:
    """Series × windows behind `after` (name, days) in the order of names. `by`: exactly these dimensions are set."""
    conditions = ["series.workspace = :workspace", "name >= :name", "(name, window_days.days) > (:name, :days_after)"]
    values: dict[str, Any] = {"workspace": workspace, "name": after[0], "days_after": after[1], "limit": limit}
    for name, value in (("metric", metric), ("survey_type", survey_type), *dimensions.items()):
        if value is not None:
            conditions.append(f"{name} = :wanted_{name}")
            values[f"wanted_{name}"] = value
    if by is not None:
        conditions += [f"{name} is {'not null' if name in by else 'null'}" for name in DIMENSIONS]
    statement = f"""select series.*, window_days.days from series
        cross join unnest(cast(:days as integer[])) as window_days (days)
        where {" and ".join(conditions)} order by name, window_days.days limit :limit"""  # noqa: S608 - names are ours
    return [(key_of(row), row.days) for row in await reader.all(statement, values | {"days": list(days)})]
