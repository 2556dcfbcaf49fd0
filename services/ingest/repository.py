"""All SQL of ingest."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.exc import IntegrityError

from services.ingest.models import source
from shared.core.errors import Conflict
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork


async def version(reader: Reader) -> tuple[int, datetime | None]:
    """Changes whenever any source does."""
    row = await reader.first(select(func.count().label("number"), func.max(source.c.changed_at).label("changed_at")))
    return (0, None) if row is None else (row.number, row.changed_at)


async def enabled(reader: Reader) -> Sequence[Row[Any]]:
    """Every source that takes deliveries, of all workspaces."""
    return await reader.all(select(source).where(source.c.enabled))


async def page(reader: Reader, workspace: str, after: str, limit: int) -> Sequence[Row[Any]]:
    """Sources of a workspace by name, those after `after`."""
    found = select(source).where(source.c.workspace == workspace, source.c.name > after)
    return await reader.all(found.order_by(source.c.name).limit(limit))


async def one(uow: UnitOfWork, workspace: str, name: str, *, lock: bool = False) -> Row[Any] | None:
    """One source, disabled or not."""
    query = select(source).where(source.c.workspace == workspace, source.c.name == name)
    return (await uow.execute(query.with_for_update() if lock else query)).first()


async def add(uow: UnitOfWork, fields: Mapping[str, Any]) -> None:
    """Store a new source. Raises Conflict where the workspace has one of that name."""
    try:
        await uow.execute(source.insert().values(**fields))
    except IntegrityError:
        raise Conflict(f"there is a source {fields['name']!r} already; choose another name or change it") from None


async def update(uow: UnitOfWork, workspace: str, name: str, **columns: Any) -> bool:
    """Set `secrets`, `enabled`, `settings` or `token`; False where there is no such source. What waited for a new token
    or other settings is fetched at once."""
    change = source.update().where(source.c.workspace == workspace, source.c.name == name)
    now = func.clock_timestamp()
    result = await uow.execute(change.values(**columns, changed_at=now, fetch_after=now))
    await uow.execute(_NOTIFY)
    return result.rowcount > 0


# What is to be fetched. The order of locks is always source, then wanted.

_NOTIFY = "select pg_notify('ingest_wanted', '')"
# Wanted again while it is there: the newest detail, at the time that the row has (a vendor's refusal goes on counting).
_WANT = """
insert into wanted (workspace, source, object, detail)
select :workspace, :source, one.object, one.detail
from unnest(cast(:objects as text[]), cast(:details as json[])) as one (object, detail)
on conflict (workspace, source, object) do update set detail = excluded.detail, version = wanted.version + 1"""
# One of each source at a time: who has its row moves `fetch_after` on, which spaces the calls of all processes.
_CLAIM = """
with ready as (
    select source.workspace, source.name, next.object
    from source cross join lateral (
        select object from wanted
        where wanted.workspace = source.workspace and wanted.source = source.name
          and due_at <= clock_timestamp() and (leased_until is null or leased_until <= clock_timestamp())
        order by due_at limit 1
    ) as next
    where enabled and fetch_after <= clock_timestamp() and connector = any(cast(:connectors as text[]))
    order by fetch_after limit :limit
    for no key update of source skip locked
), leased as (
    update wanted set claims = claims + 1, leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    from ready
    where wanted.workspace = ready.workspace and wanted.source = ready.name and wanted.object = ready.object
      and (leased_until is null or leased_until <= clock_timestamp())
    returning wanted.*, extract(epoch from clock_timestamp() - first_due_at)::float8 as age_seconds
)
select source.*, object, detail, attempts, version, claims, age_seconds
from leased join source on source.workspace = leased.workspace and source.name = leased.source"""
# A refusal of the old token must not hold up the new one.
_PAUSE = """
update source set fetch_after = greatest(fetch_after, clock_timestamp() + make_interval(secs => pause.seconds))
from unnest(cast(:workspaces as text[]), cast(:names as text[]), cast(:times as timestamptz[]),
            cast(:seconds as float8[])) as pause (workspace, name, changed_at, seconds)
where source.workspace = pause.workspace and source.name = pause.name and source.changed_at = pause.changed_at"""
_MINE = "workspace = :workspace and source = :source and object = :object and claims = :claims"
_DONE = f"delete from wanted where {_MINE} and version = :version"  # noqa: S608 - words of ours
_GO_ON = f"""
update wanted set leased_until = null, attempts = 0, detail = cast(:detail as json),
    due_at = clock_timestamp() + make_interval(secs => :seconds),
    first_due_at = clock_timestamp() + make_interval(secs => :seconds)
where {_MINE} and version = :version"""  # noqa: S608
_ONCE_MORE = f"""
update wanted set leased_until = null, attempts = 0, due_at = clock_timestamp(), first_due_at = clock_timestamp()
where {_MINE} and version > :version"""  # noqa: S608
_RETRY = f"""
update wanted set leased_until = null, attempts = attempts + 1,
    detail = case when version = :version then cast(:detail as json) else detail end,
    due_at = clock_timestamp() + make_interval(secs => :seconds)
where {_MINE}"""  # noqa: S608
_NEXT = """
select extract(epoch from min(greatest(fetch_after, next.due_at)) - clock_timestamp())::float8
from source cross join lateral (
    select due_at from wanted
    where wanted.workspace = source.workspace and wanted.source = source.name
      and (leased_until is null or leased_until <= clock_timestamp())
    order by due_at limit 1
) as next
where enabled and connector = any(cast(:connectors as text[]))"""
_POLLERS = "unnest(cast(:connectors as text[]), cast(:objects as text[])) as poller (connector, object)"
_ADD_POLLERS = f"""
insert into wanted (workspace, source, object, detail)
select source.workspace, source.name, poller.object, '{{}}'
from source join {_POLLERS} on source.connector = poller.connector
where enabled and not exists (
    select from wanted
    where wanted.workspace = source.workspace and wanted.source = source.name and wanted.object = poller.object)
on conflict do nothing"""  # noqa: S608
_DROP_POLLERS = f"""
delete from wanted using source, {_POLLERS}
where not source.enabled and source.connector = poller.connector
  and wanted.workspace = source.workspace and wanted.source = source.name and wanted.object = poller.object"""  # noqa: S608


async def want(uow: UnitOfWork, workspace: str, name: str, objects: Mapping[str, Mapping[str, Any]]) -> None:
    """Store what is to be fetched for a source: object → detail. It is fetched once, whoever wants it how often."""
    ordered = sorted(objects.items())  # two that want the same in another order would wait for each other
    columns = {"objects": [name for name, _ in ordered], "details": [json.dumps(detail) for _, detail in ordered]}
    await uow.execute(_WANT, {"workspace": workspace, "source": name, **columns})
    await uow.execute(_NOTIFY)


async def claim(uow: UnitOfWork, connectors: Sequence[str], limit: int, lease_seconds: float) -> Sequence[Row[Any]]:
    """Lease what is due of these connectors, at most one of each source: the columns of `source`, and object, detail,
    attempts, version, claims and age_seconds, which count from its first due time. Call `pause` for each source in the
    same transaction."""
    parameters = {"connectors": list(connectors), "limit": limit, "lease_seconds": lease_seconds}
    return (await uow.execute(_CLAIM, parameters)).all()


async def pause(uow: UnitOfWork, pauses: Iterable[tuple[str, str, datetime, float]]) -> None:
    """Fetch nothing of a source for so many seconds: (workspace, name, changed_at, seconds). Nothing happens to one
    that was changed since."""
    if rows := sorted(pauses):
        names = ("workspaces", "names", "times", "seconds")
        await uow.execute(
            _PAUSE, {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
        )


async def done(uow: UnitOfWork, lease: Mapping[str, Any]) -> None:
    """Forget what was fetched; where it was wanted again meanwhile, it is due at once. `lease` is workspace, source,
    object, claims and version; nothing happens where it was lost."""
    if (await uow.execute(_DONE, lease)).rowcount == 0:
        await uow.execute(_ONCE_MORE, lease)


async def go_on(uow: UnitOfWork, lease: Mapping[str, Any], detail: Mapping[str, Any], seconds: float) -> None:
    """Fetch the same with another detail so many seconds from now; `lease` as `done` has it."""
    if (await uow.execute(_GO_ON, {**lease, "detail": json.dumps(detail), "seconds": seconds})).rowcount == 0:
        await uow.execute(_ONCE_MORE, lease)


async def retry(uow: UnitOfWork, lease: Mapping[str, Any], detail: Mapping[str, Any], seconds: float) -> None:
    """Try again so many seconds from now; `lease` as `done` has it."""
    await uow.execute(_RETRY, {**lease, "detail": json.dumps(detail), "seconds": seconds})


async def next_fetch_seconds(reader: Reader, connectors: Sequence[str]) -> float | None:
    """Seconds until something of these may be fetched, negative where it may be now; None: nothing waits."""
    seconds: float | None = await reader.scalar(_NEXT, {"connectors": list(connectors)})
    return seconds


async def keep_pollers(uow: UnitOfWork, first: Mapping[str, str]) -> None:
    """What is fetched by and by has a row as long as its source is enabled: connector → object."""
    parameters = {"connectors": list(first), "objects": list(first.values())}
    await uow.execute(_ADD_POLLERS, parameters)
    await uow.execute(_DROP_POLLERS, parameters)
