"""SQL of day rows: the sums of a series and measure on one UTC day, with its hours.

A day row has the sums of the whole day as numbers, so that windows are added up by the database, and those of each
hour packed into bytes: they are only looked into where a window begins or ends within a day.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import text

from services.scoring.domain.counting import DayRow
from services.scoring.domain.windows import HOURS_A_DAY
from services.scoring.repository.common import arrays
from shared.db.unit_of_work import UnitOfWork

_COUNTS = np.dtype("<i4")
_SUM_BYTES = 16
_COLUMNS = {
    "series": "uuid",
    "day": "integer",
    "measure": "text",
    "n": "integer",
    "top": "integer",
    "bottom": "integer",
    "total": "numeric",
    "squares": "numeric",
}
# Columns of plain numbers and names travel as one array literal: the driver looks at each element of a list several
# times, and a batch of imported history has thousands of rows.
_LITERALS = ", ".join(f"cast(cast(:{name} as text) as {kind}[])" for name, kind in _COLUMNS.items())
_KEEP = text(
    f"""insert into day (workspace, generation, {", ".join(_COLUMNS)}, hours)
    select :workspace, :generation, * from unnest({_LITERALS}, cast(:hours as bytea[]))
    on conflict (workspace, generation, series, day, measure) do update
    set n = excluded.n, top = excluded.top, bottom = excluded.bottom, total = excluded.total,
        squares = excluded.squares, hours = excluded.hours"""  # noqa: S608 - column names of ours
)
_LOAD = text(
    f"""select series, day, measure, hours from day
    join unnest({arrays({"wanted_series": "uuid", "wanted_day": "integer", "wanted_measure": "text"})})
        as wanted (series, day, measure) using (series, day, measure)
    where workspace = :workspace and generation = :generation"""  # noqa: S608
)


class DayKey(NamedTuple):
    """Address of a day row in its workspace."""

    series: str
    day: int
    measure: str


def pack(row: DayRow) -> bytes:
    """The hours as bytes."""
    packed = row.counts.astype(_COUNTS).tobytes()
    if row.sums is None:
        return packed
    return packed + b"".join(int(one).to_bytes(_SUM_BYTES, "little", signed=True) for one in row.sums.ravel())


def unpack(hours: bytes) -> DayRow:
    """Undo `pack`."""
    size = HOURS_A_DAY * 3 * _COUNTS.itemsize
    counts = np.frombuffer(hours[:size], dtype=_COUNTS).reshape(HOURS_A_DAY, 3).astype(np.int64)
    if len(hours) == size:
        return DayRow(counts, None)
    parts = (hours[at : at + _SUM_BYTES] for at in range(size, len(hours), _SUM_BYTES))
    sums = np.array([int.from_bytes(part, "little", signed=True) for part in parts], dtype=object)
    return DayRow(counts, sums.reshape(HOURS_A_DAY, 2))


async def load(uow: UnitOfWork, workspace: str, generation: int, keys: Collection[DayKey]) -> dict[DayKey, DayRow]:
    """The day rows that are stored among `keys`."""
    series, days, measures = zip(*keys, strict=True)
    values = {"wanted_series": list(series), "wanted_day": list(days), "wanted_measure": list(measures)}
    found = (await uow.execute(_LOAD, {"workspace": workspace, "generation": generation, **values})).all()
    return {DayKey(row.series.hex, row.day, row.measure): unpack(row.hours) for row in found}


async def keep(uow: UnitOfWork, workspace: str, generation: int, rows: Mapping[DayKey, DayRow]) -> None:
    """Store day rows as they are now."""
    columns: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, "hours")}
    for key in sorted(rows):
        row = rows[key]
        whole = row.counts.sum(axis=0).tolist()
        moments = [0, 0] if row.sums is None else row.sums.sum(axis=0).tolist()
        for name, value in zip(columns, (*key, *whole, *moments, pack(row)), strict=True):
            columns[name].append(value)
    hours = columns.pop("hours")
    literals = {name: _literal(column) for name, column in columns.items()}
    await uow.execute(_KEEP, {"workspace": workspace, "generation": generation, "hours": hours, **literals})


def _literal(column: Iterable[Any]) -> str:
    return "{" + ",".join(map(str, column)) + "}"
