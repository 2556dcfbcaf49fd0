"""What the SQL files of scoring share."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Executable, Row, text

from services.scoring.domain.answers import DIMENSIONS
from services.scoring.domain.series import SeriesKey
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork


def arrays(columns: Mapping[str, str]) -> str:
    """Parameters for `unnest`: column name → type."""
    return ", ".join(f"cast(:{name} as {kind}[])" for name, kind in columns.items())


def key_of(row: Row[Any]) -> SeriesKey:
    """The key of a row of `series`."""
    named = ((name, getattr(row, name)) for name in sorted(DIMENSIONS))
    return SeriesKey(row.workspace, row.metric, row.survey_type, tuple(pair for pair in named if pair[1] is not None))


async def database_now(connection: Reader | UnitOfWork) -> datetime:
    """The database clock: the one clock that decides which hour runs."""
    return cast(datetime, (await rows_of(connection, text("select clock_timestamp() as now"), {}))[0].now)


async def rows_of(
    connection: Reader | UnitOfWork, statement: Executable, values: Mapping[str, Any]
) -> Sequence[Row[Any]]:
    """The rows of a statement on either kind of connection."""
    if isinstance(connection, Reader):
        return await connection.all(statement, values)
    return (await connection.execute(statement, values)).all()
