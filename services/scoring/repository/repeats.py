"""SQL of answers by person, and of the sums of those that a later answer stands in for (domain/repeats.py)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from services.scoring.domain.repeats import Given, Person, RepeatKey
from services.scoring.domain.scores import Measured, Tally
from services.scoring.repository.common import arrays, rows_of
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_PERSON = {"person": "uuid", "survey": "text", "metric": "text"}
_GIVEN = {
    **_PERSON,
    "at": "bigint",
    "feedback": "uuid",
    "hour": "integer",
    "measure": "text",
    "n": "integer",
    "top": "integer",
    "bottom": "integer",
    "total": "numeric",
    "squares": "numeric",
    "series": "text",
}
_SUMS = {
    "series": "uuid",
    "measure": "text",
    "earlier": "integer",
    "later": "integer",
    "n": "integer",
    "top": "integer",
    "bottom": "integer",
    "total": "numeric",
    "squares": "numeric",
}
_LOAD = text(
    f"""select given.* from given join unnest({arrays(_PERSON)}) as wanted (person, survey, metric)
        using (person, survey, metric)
    where workspace = :workspace and generation = :generation"""  # noqa: S608 - names of ours
)
_REMOVE = text(
    f"""delete from given using unnest({arrays({**_PERSON, "at": "bigint", "feedback": "uuid"})})
        as gone (person, survey, metric, at, feedback)
    where workspace = :workspace and generation = :generation and given.person = gone.person
        and given.survey = gone.survey and given.metric = gone.metric and given.at = gone.at
        and given.feedback = gone.feedback"""  # noqa: S608
)
_ADD = text(
    f"""insert into given (workspace, generation, {", ".join(_GIVEN)})
    select :workspace, :generation, * from unnest({arrays(_GIVEN)})"""  # noqa: S608
)
_COUNTED = ("n", "top", "bottom", "total", "squares")
_KEEP = text(
    f"""insert into repeat (workspace, generation, {", ".join(_SUMS)})
    select :workspace, :generation, * from unnest({arrays(_SUMS)})
    on conflict (workspace, generation, series, measure, later, earlier) do update
    set {", ".join(f"{name} = repeat.{name} + excluded.{name}" for name in _COUNTED)}"""  # noqa: S608
)
_ADDED = ", ".join(f"sum(repeat.{name}) as {name}" for name in _COUNTED)
_BETWEEN = text(
    f"""select wanted.series, one.segment as first, other.segment as last, repeat.measure, {_ADDED}
    from unnest(cast(:series as uuid[])) as wanted (series)
    join repeat on repeat.workspace = :workspace and repeat.generation = :generation
        and repeat.series = wanted.series
    join unnest(cast(:segments as integer[]), cast(:lows as integer[]), cast(:highs as integer[]))
        as one (segment, low, high) on repeat.earlier between one.low and one.high
    join unnest(cast(:segments as integer[]), cast(:lows as integer[]), cast(:highs as integer[]))
        as other (segment, low, high) on repeat.later between other.low and other.high
    group by 1, 2, 3, 4"""  # noqa: S608
)
_LATER_IN = text(
    """select distinct series from repeat
    where workspace = :workspace and generation = :generation and later >= :low and later < :end"""
)
_OF_SERIES = text(
    """select * from repeat where workspace = :workspace and generation = :generation and series = :series
        and later between :low and :high"""
)


async def load(
    uow: UnitOfWork, workspace: str, generation: int, persons: Sequence[Person]
) -> dict[Person, list[Given]]:
    """What these persons have answered."""
    values = dict(zip(_PERSON, map(list, zip(*persons, strict=True)), strict=True))
    found: dict[Person, list[Given]] = defaultdict(list)
    for row in await uow.execute(_LOAD, {"workspace": workspace, "generation": generation, **values}):
        one = Given(row.at, row.feedback, row.hour, row.measure, _tally(row), tuple(row.series.split()))
        found[row.person, row.survey, row.metric].append(one)
    return found


async def change(
    uow: UnitOfWork,
    workspace: str,
    generation: int,
    gone: Iterable[tuple[Person, Given]],
    come: Iterable[tuple[Person, Given]],
    sums: Mapping[RepeatKey, Tally],
) -> None:
    """Forget and remember answers, and add to the sums of pairs."""
    at = {"workspace": workspace, "generation": generation}
    removed = [(*person, given.at, given.feedback) for person, given in gone]
    added = [(*person, *given[:4], *given.tally, " ".join(given.series)) for person, given in come]
    kept = [(*key, *tally) for key, tally in sums.items()]
    for statement, names, rows in (
        (_REMOVE, (*_PERSON, "at", "feedback"), removed),
        (_ADD, tuple(_GIVEN), added),
        (_KEEP, tuple(_SUMS), kept),
    ):
        if rows:
            columns = zip(*rows, strict=True)
            await uow.execute(statement, at | {name: list(one) for name, one in zip(names, columns, strict=True)})


async def between(
    connection: Reader | UnitOfWork,
    workspace: str,
    generation: int,
    series: Sequence[str],
    segments: Mapping[int, tuple[int, int]],
) -> dict[str, dict[tuple[int, int], Measured]]:
    """Series → (segment of the earlier, segment of the later) → sums of pairs; `segments` are their hours, both
    inclusive."""
    values = {
        "workspace": workspace,
        "generation": generation,
        "series": list(series),
        "segments": list(segments),
        "lows": [low for low, _ in segments.values()],
        "highs": [high for _, high in segments.values()],
    }
    found: dict[str, dict[tuple[int, int], dict[str, Tally]]] = defaultdict(lambda: defaultdict(dict))
    for row in await rows_of(connection, _BETWEEN, values):
        found[row.series.hex][row.first, row.last][row.measure] = _tally(row)
    return {one: dict(pairs) for one, pairs in found.items()}


async def later_in(uow: UnitOfWork, workspace: str, generation: int, low: int, end: int) -> list[str]:
    """Series with pairs whose later answer lies in some hours."""
    values = {"workspace": workspace, "generation": generation, "low": low, "end": end}
    return [row.series.hex for row in await uow.execute(_LATER_IN, values)]


async def of_series(
    reader: Reader, workspace: str, generation: int, series: str, low: int, high: int
) -> list[tuple[RepeatKey, Tally]]:
    """The sums of pairs of a series whose later answer lies in some hours, both inclusive."""
    values = {"workspace": workspace, "generation": generation, "series": series, "low": low, "high": high}
    rows = await reader.all(_OF_SERIES, values)
    return [(RepeatKey(series, row.measure, row.earlier, row.later), _tally(row)) for row in rows]


def _tally(row: Any) -> Tally:
    return Tally._make(int(getattr(row, name)) for name in _COUNTED)
