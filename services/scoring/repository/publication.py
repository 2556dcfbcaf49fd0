"""SQL of what is due to be published, and of the clock that moves windows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import text

from services.scoring.domain.answers import SeriesKey, series_id
from services.scoring.domain.windows import ALL_DAYS
from services.scoring.repository.common import arrays, key_of
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_MARK_COLUMNS = {
    "workspace": "text",
    "series": "uuid",
    "days": "smallint",
    "causation_id": "uuid",
    "correlation_id": "uuid",
    "traceparent": "text",
}
# What is due already stays as it is: it will be published with our change, since this waits for a publisher at work.
_DUE_AGAIN = """
    on conflict (workspace, series, days) do update
    set due_at = greatest(clock_timestamp(), score.published_at + make_interval(secs => :interval_seconds)),
        cause = excluded.cause, causation_id = excluded.causation_id,
        correlation_id = excluded.correlation_id, traceparent = excluded.traceparent
    where score.due_at is null"""
_MARK = text(
    f"""insert into score ({", ".join(_MARK_COLUMNS)}, cause, due_at)
    select marked.*, 'feedback', clock_timestamp()
    from unnest({arrays(_MARK_COLUMNS)}) as marked ({", ".join(_MARK_COLUMNS)})
    {_DUE_AGAIN}"""  # noqa: S608 - no value in it
)
_MARK_LEFT = text(
    f"""insert into score (workspace, series, days, correlation_id, cause, due_at)
    select :workspace, listed.series, window_days.days, :correlation_id, 'tick', clock_timestamp()
    from unnest(cast(:series as uuid[])) as listed (series)
    cross join unnest(cast(:days as smallint[])) as window_days (days)
    where exists (
        select from generate_series(0, 2) as windows_back (k)
        cross join lateral (
            select from bucket
            where bucket.workspace = :workspace and bucket.series = listed.series and grain = 'h' and n <> 0
              and slot > :before - 24 * window_days.days * windows_back.k
              and slot <= :now - 24 * window_days.days * windows_back.k
            limit 1
        ) as moved
    )
    order by listed.series, window_days.days
    {_DUE_AGAIN}"""  # noqa: S608 - no value in it
)
_START_CLOCKS = text(
    """insert into clock (workspace, hour) select unnest(cast(:workspaces as text[])), :hour
    on conflict do nothing returning workspace"""
)
_TAKE_DUE = text(
    """select workspace, series, days, cause, causation_id, correlation_id, traceparent, publication, content
    from score where due_at <= clock_timestamp() order by due_at limit :limit for update skip locked"""
)
_NEXT_DUE = text(
    "select extract(epoch from min(due_at) - clock_timestamp())::float8 from score where due_at is not null"
)
_SETTLE = text(
    """update score
    set due_at = null, published_at = case when sent then clock_timestamp() else published_at end,
        publication = publication + sent::int, content = cast(settled.content as jsonb)
    from unnest(cast(:workspace as text[]), cast(:series as uuid[]), cast(:days as smallint[]),
                cast(:sent as boolean[]), cast(:content as text[]))
        as settled (workspace, series, days, sent, content)
    where score.workspace = settled.workspace and score.series = settled.series and score.days = settled.days"""
)


@dataclass(frozen=True, slots=True)
class Due:
    """A series and window that has to be published. `content` is what was published last."""

    key: SeriesKey
    days: int
    cause: str
    causation_id: UUID | None
    correlation_id: UUID
    traceparent: str | None
    publication: int
    content: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome for a Due: `content` as it stands now, and whether it was sent."""

    due: Due
    sent: bool
    content: str


async def mark(uow: UnitOfWork, marks: Sequence[tuple[str, str, int, UUID, UUID, str | None]], seconds: float) -> None:
    """Make series and windows due: (workspace, series, days, cause, correlation, trace), at least `seconds` after the
    last publication. Wakes the publisher at the commit."""
    values: dict[str, Any] = dict(zip(_MARK_COLUMNS, map(list, zip(*marks, strict=True)), strict=True))
    await uow.execute(_MARK, values | {"interval_seconds": seconds})
    await _wake(uow)


async def _wake(uow: UnitOfWork) -> None:
    await uow.execute("select pg_notify('scoring_score', '')")


async def start_clocks(uow: UnitOfWork, workspaces: Iterable[str], hour: int) -> list[str]:
    """Note the hour for workspaces that have no clock yet; those."""
    rows = await uow.execute(_START_CLOCKS, {"workspaces": sorted(workspaces), "hour": hour})
    return [row.workspace for row in rows]


async def clock_hour(uow: UnitOfWork, workspace: str) -> int | None:
    """The hour up to which a workspace is accounted for; locked."""
    statement = "select hour from clock where workspace = :workspace for update"
    hour: int | None = (await uow.execute(statement, {"workspace": workspace})).scalar()
    return hour


async def set_clock(uow: UnitOfWork, workspace: str, hour: int) -> None:
    """A workspace is accounted for up to `hour`."""
    await uow.execute(
        "update clock set hour = :hour where workspace = :workspace", {"workspace": workspace, "hour": hour}
    )


async def series_after(uow: UnitOfWork, workspace: str, after: UUID | None, limit: int) -> list[UUID]:
    """The next ids of a workspace's series."""
    statement = """select id from series where workspace = :workspace and (cast(:after as uuid) is null or id > :after)
        order by id limit :limit"""
    rows = await uow.execute(statement, {"workspace": workspace, "after": after, "limit": limit})
    return [row.id for row in rows]


async def mark_moved(
    uow: UnitOfWork, workspace: str, series: Sequence[UUID], before: int, now: int, cause: UUID, seconds: float
) -> None:
    """Make due whatever changed among `series` because the hour went from `before` to `now`."""
    values = {"workspace": workspace, "series": list(series), "days": list(ALL_DAYS), "correlation_id": cause}
    await uow.execute(_MARK_LEFT, values | {"before": before, "now": now, "interval_seconds": seconds})
    await _wake(uow)


async def take_due(uow: UnitOfWork, limit: int) -> list[Due]:
    """Series and windows that are due, locked; those that another process publishes right now are left to it."""
    rows = (await uow.execute(_TAKE_DUE, {"limit": limit})).all()
    if not rows:
        return []
    listed = await uow.execute(
        """select series.* from series
        join unnest(cast(:workspaces as text[]), cast(:ids as uuid[])) as wanted (workspace, id)
        using (workspace, id)""",
        {"workspaces": [row.workspace for row in rows], "ids": [row.series for row in rows]},
    )
    keys = {row.id: key_of(row) for row in listed}
    return [
        Due(
            key=keys[row.series],
            days=row.days,
            cause=row.cause,
            causation_id=row.causation_id,
            correlation_id=row.correlation_id,
            traceparent=row.traceparent,
            publication=row.publication,
            content=row.content,
        )
        for row in rows
    ]


async def seconds_to_next_due(reader: Reader) -> float | None:
    """How long until something is due (negative: since when it is); None when nothing will be."""
    return cast("float | None", await reader.scalar(_NEXT_DUE))


async def settle(uow: UnitOfWork, settled: Sequence[Settled]) -> None:
    """What was due is done with."""
    await uow.execute(
        _SETTLE,
        {
            "workspace": [one.due.key.workspace for one in settled],
            "series": [series_id(one.due.key) for one in settled],
            "days": [one.due.days for one in settled],
            "sent": [one.sent for one in settled],
            "content": [one.content for one in settled],
        },
    )
