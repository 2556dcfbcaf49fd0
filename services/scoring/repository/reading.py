"""SQL of reading: sums of windows, days of history, the list of series."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text

from services.scoring.domain.answers import DIMENSIONS
from services.scoring.domain.counting import DayRow
from services.scoring.domain.scores import NOTHING, Segments, Tally
from services.scoring.domain.series import SeriesKey, series_id
from services.scoring.domain.windows import HOURS_A_DAY, Span, hours_by_segment
from services.scoring.repository import repeats
from services.scoring.repository.common import key_of, rows_of
from services.scoring.repository.days import unpack
from shared.contracts.score_updated import Window
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_WHOLE_DAYS = text(
    """select wanted.series, span.segment, held.measure,
        sum(held.n) as n, sum(held.top) as top, sum(held.bottom) as bottom,
        sum(held.total) as total, sum(held.squares) as squares
    from unnest(cast(:series as uuid[])) as wanted (series)
    cross join unnest(cast(:segments as integer[]), cast(:lows as integer[]), cast(:highs as integer[]))
        as span (segment, low, high)
    join day as held on held.workspace = :workspace and held.generation = :generation and held.series = wanted.series
        and held.day between span.low and span.high
    group by wanted.series, span.segment, held.measure having sum(held.n) <> 0"""
)
_SPLIT_DAYS = text(
    """select series, day, measure, hours from day
    where workspace = :workspace and generation = :generation and series = any(cast(:series as uuid[]))
        and day = any(cast(:days as integer[]))"""
)
_DAILY = text(
    """select day, measure, hours from day
    where workspace = :workspace and generation = :generation and series = :series
        and day between :first and :last and n <> 0 order by day"""
)


async def sums(
    connection: Reader | UnitOfWork,
    workspace: str,
    generation: int,
    keys: Sequence[SeriesKey],
    spans: Sequence[Span],
    *,
    one_per_person: bool,
) -> dict[SeriesKey, Segments]:
    """The sums of each series by segment (domain/windows.py) and measure; of repeats too where the rules say so."""
    by_id = {series_id(key): key for key in keys}
    found: dict[SeriesKey, dict[int, dict[str, Tally]]] = {key: defaultdict(dict) for key in keys}
    values = {"workspace": workspace, "generation": generation, "series": list(by_id)}
    whole = [span for span in spans if span.grain == "d"]
    segments = {
        "segments": [span.segment for span in whole],
        "lows": [span.low for span in whole],
        "highs": [span.high for span in whole],
    }
    for row in await rows_of(connection, _WHOLE_DAYS, values | segments):
        found[by_id[row.series.hex]][row.segment][row.measure] = _tally(row)
    split: dict[int, list[Span]] = defaultdict(list)
    for span in (span for span in spans if span.grain == "h"):
        for day in range(span.low // HOURS_A_DAY, span.high // HOURS_A_DAY + 1):
            split[day].append(span)
    for row in await rows_of(connection, _SPLIT_DAYS, values | {"days": list(split)}):
        of_series = found[by_id[row.series.hex]]
        hours = unpack(row.hours)
        for span in split[row.day]:
            if (part := _part(hours, row.day, span)).n:
                of_series[span.segment][row.measure] = of_series[span.segment].get(row.measure, NOTHING).plus(part)
    if not one_per_person:
        return {key: Segments(of_key) for key, of_key in found.items()}
    pairs = await repeats.between(connection, workspace, generation, list(by_id), hours_by_segment(spans))
    return {key: Segments(of_key, pairs.get(series_id(key), {})) for key, of_key in found.items()}


def _part(row: DayRow, day: int, span: Span) -> Tally:
    """The hours of a day that lie in a span."""
    hours = slice(max(0, span.low - day * HOURS_A_DAY), span.high - day * HOURS_A_DAY + 1)
    moments = [0, 0] if row.sums is None else row.sums[hours].sum(axis=0).tolist()
    return Tally(*row.counts[hours].sum(axis=0).tolist(), *moments)


async def by_hour(
    reader: Reader, generation: int, key: SeriesKey, first: int, last: int
) -> list[tuple[int, str, DayRow]]:
    """(day, measure, sums by hour) of the days `first` … `last` that have answers."""
    values = {"generation": generation, "first": first, "last": last}
    found = await reader.all(_DAILY, {"workspace": key.workspace, "series": series_id(key), **values})
    return [(row.day, row.measure, unpack(row.hours)) for row in found]


def _tally(row: Row[Any]) -> Tally:
    return Tally(int(row.n), int(row.top), int(row.bottom), int(row.total), int(row.squares))


async def list_series(
    reader: Reader,
    workspace: str,
    generation: int,
    *,
    metric: str | None,
    survey_type: str | None,
    dimensions: Mapping[str, str],
    by: Sequence[str] | None,
    windows: Sequence[Window],
    after: tuple[str, str],
    limit: int,
) -> list[tuple[SeriesKey, Window]]:
    """Series × windows behind `after` (name, window) in the order of names. `by`: exactly these dimensions are set."""
    conditions = [
        "series.workspace = :workspace",
        "series.generation = :generation",
        "name >= :name",
        "(name, shown.span) > (:name, :span)",
    ]
    values: dict[str, Any] = {
        "workspace": workspace,
        "generation": generation,
        "name": after[0],
        "span": after[1],
        "limit": limit,
    }
    for name, value in (("metric", metric), ("survey_type", survey_type), *dimensions.items()):
        if value is not None:
            conditions.append(f"{name} = :wanted_{name}")
            values[f"wanted_{name}"] = value
    if by is not None:
        conditions += [f"{name} is {'not null' if name in by else 'null'}" for name in DIMENSIONS]
    statement = f"""select series.*, shown.span from series
        cross join (select span collate "C" from unnest(cast(:spans as text[])) as spans (span)) as shown
        where {" and ".join(conditions)} order by name, shown.span limit :limit"""  # noqa: S608 - names are ours
    return [(key_of(row), row.span) for row in await reader.all(statement, values | {"spans": list(windows)})]
