"""SQL of the write path: answers, the list of series, buckets."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from services.scoring.domain.answers import (
    DIMENSIONS,
    Answer,
    Bucket,
    SeriesKey,
    dump_points,
    load_points,
    series_id,
    series_name,
)
from services.scoring.repository.common import arrays
from shared.db.unit_of_work import UnitOfWork

_ANSWER_COLUMNS = {
    "workspace": "text",
    "feedback_id": "uuid",
    "revision": "bigint",
    "removed": "boolean",
    "occurred_at": "timestamptz",
    "survey_type": "text",
    "survey": "text",
    "customer_id": "uuid",
    **dict.fromkeys(DIMENSIONS, "text"),
    "points": "text",
}
_OLD = ("removed", "revision", "occurred_at", "survey_type", *DIMENSIONS, "points")


# One statement decides which versions are newer, keeps them and hands back what they replace, under the row's lock:
# two transactions with versions of the same feedback cannot both take the same one back.
_KEEP_ANSWERS = text(
    f"""insert into answer ({", ".join(_ANSWER_COLUMNS)})
    select {", ".join("cast(points as jsonb)" if name == "points" else name for name in _ANSWER_COLUMNS)}
    from unnest({arrays(_ANSWER_COLUMNS)}) as kept ({", ".join(_ANSWER_COLUMNS)})
    on conflict (workspace, feedback_id) do update
    set {", ".join(f"{name} = excluded.{name}" for name in list(_ANSWER_COLUMNS)[2:])}
    where (answer.revision, answer.removed) < (excluded.revision, excluded.removed)
    returning new.workspace, new.feedback_id, {", ".join(f"old.{name} as old_{name}" for name in _OLD)}"""  # noqa: S608 - column names of ours
)
_SERIES_COLUMNS = {
    "workspace": "text",
    "id": "uuid",
    "name": "text",
    "metric": "text",
    "survey_type": "text",
    **dict.fromkeys(DIMENSIONS, "text"),
}
_KEEP_SERIES = text(
    f"""insert into series ({", ".join(_SERIES_COLUMNS)})
    select * from unnest({arrays(_SERIES_COLUMNS)}) on conflict do nothing"""  # noqa: S608
)
_BUCKET_COLUMNS = {
    "workspace": "text",
    "series": "uuid",
    "grain": "text",
    "slot": "integer",
    "measure": "text",
    "n": "integer",
    "top": "integer",
    "bottom": "integer",
    "total": "numeric",
    "squares": "numeric",
}
# Every column travels as one array literal (none of these values needs quoting): the driver looks at each element of
# a list several times, and a batch of imported history has ten thousand rows.
_LITERALS = ", ".join(f"cast(cast(:{name} as text) as {kind}[])" for name, kind in _BUCKET_COLUMNS.items())
_ADD = text(
    f"""insert into bucket as held ({", ".join(_BUCKET_COLUMNS)})
    select * from unnest({_LITERALS})
    on conflict (workspace, series, grain, slot, measure) do update
    set n = held.n + excluded.n, top = held.top + excluded.top, bottom = held.bottom + excluded.bottom,
        total = held.total + excluded.total, squares = held.squares + excluded.squares"""  # noqa: S608
)


async def keep_answers(uow: UnitOfWork, answers: Sequence[Answer]) -> list[tuple[UUID, str, Answer | None]]:
    """Keep the versions that are newer than what is stored; (feedback, workspace, replaced version) of each kept."""
    values: dict[str, list[Any]] = {name: [] for name in _ANSWER_COLUMNS}
    for answer in answers:
        for name in ("workspace", "feedback_id", "revision", "removed", "occurred_at"):
            values[name].append(getattr(answer, name))
        for name in ("survey_type", "survey", "customer_id"):
            values[name].append(getattr(answer, name))
        for name, value in zip(DIMENSIONS, answer.dimensions, strict=True):
            values[name].append(value)
        values["points"].append(dump_points(answer.points))
    rows = (await uow.execute(_KEEP_ANSWERS, values)).all()
    return [(row.feedback_id, row.workspace, _replaced(row)) for row in rows]


def _replaced(row: Row[Any]) -> Answer | None:
    if row.old_revision is None:
        return None
    return Answer(
        workspace=row.workspace,
        feedback_id=row.feedback_id,
        revision=row.old_revision,
        removed=row.old_removed,
        occurred_at=row.old_occurred_at,
        survey_type=row.old_survey_type,
        survey=None,
        customer_id=None,
        dimensions=tuple(getattr(row, f"old_{name}") for name in DIMENSIONS),
        points=load_points(row.old_points),
    )


async def keep_series(uow: UnitOfWork, keys: Iterable[SeriesKey]) -> None:
    """Make sure that the series are listed."""
    values: dict[str, list[Any]] = {name: [] for name in _SERIES_COLUMNS}
    for key in sorted(keys, key=series_id):
        dimensions = dict(key.dimensions)
        row = (key.workspace, series_id(key), series_name(key), key.metric, key.survey_type)
        for name, value in zip(_SERIES_COLUMNS, (*row, *map(dimensions.get, DIMENSIONS)), strict=True):
            values[name].append(value)
    await uow.execute(_KEEP_SERIES, values)


async def add(uow: UnitOfWork, buckets: Sequence[tuple[Bucket, list[int]]]) -> None:
    """Add sums to buckets."""
    columns = zip(*((*bucket, *sums) for bucket, sums in buckets), strict=True)
    literals = ("{" + ",".join(map(str, column)) + "}" for column in columns)
    await uow.execute(_ADD, dict(zip(_BUCKET_COLUMNS, literals, strict=True)))
