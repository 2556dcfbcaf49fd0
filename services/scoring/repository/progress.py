"""SQL of how far a workspace is counted and published, under which rules, and which rules are to come."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from services.scoring.domain.rules import Rules
from services.scoring.repository.common import rows_of
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_LOCK = text(
    """select progress.*, rules.version as wanted_version, rules.body as wanted_rules
    from progress left join rules using (workspace) where workspace = :workspace for update of progress"""
)
_BEGIN = text(
    """insert into progress (workspace, hour, turns_at, rules_version, rules)
    values (:workspace, :hour, :turns_at, :version, cast(:rules as jsonb)) on conflict do nothing"""
)
_SAVE = text(
    """update progress set next_row = :next_row, published_row = :published_row, hour = :hour, turns_at = :turns_at,
        passes = passes + 1, looked = :looked, generation = :generation,
        rules_version = :version, rules = cast(:rules as jsonb),
        draft_version = :draft_version, draft_rules = cast(:draft_rules as jsonb),
        draft_row = :draft_row, draft_until = :draft_until
    where workspace = :workspace"""
)
# What is committed while the hour of a workspace has turned, or was not published before a crash, is found here too;
# what a living projector holds back it knows itself.
_WAITING = text(
    """select workspace from block where first_row is null
    union select progress.workspace from progress left join rules using (workspace)
    where turns_at <= :now or published_row < next_row or published_row < 0 or draft_version is not null
        or rules.version <> progress.rules_version
    union select target.workspace from target join progress using (workspace) where fresh"""
)
_STANDING = text(
    """select generation, rules_version, rules, draft_version, draft_row, draft_until
    from progress where workspace = :workspace"""
)
_WANTED = text("select version, body from rules where workspace = :workspace")
_WANT = text(
    """insert into rules (workspace, version, body, changed_at)
    values (:workspace, 1, cast(:body as jsonb), clock_timestamp())
    on conflict (workspace) do update
    set version = rules.version + 1, body = excluded.body, changed_at = excluded.changed_at
    returning version"""
)


class Versioned(NamedTuple):
    """Rules, and which change of them it is; 0 where nobody has changed any."""

    version: int
    rules: Rules


class Draft(NamedTuple):
    """Sums under other rules that are being made: rows before `row` are in it, `until` is where it began."""

    ruled: Versioned
    row: int
    until: int


class Progress(NamedTuple):
    """How far a workspace is: the next row to be counted, the first one whose effect may not be published yet (below
    0: all that was ever published has to be looked at), and the hour up to which windows have moved. `passes` counts
    the transactions that changed it, `generation` the versions of its sums; `looked` is the hour of the last look for
    alerts."""

    next_row: int
    published_row: int
    hour: int
    passes: int
    generation: int
    ruled: Versioned
    looked: int
    draft: Draft | None = None


class Standing(NamedTuple):
    """What readers have to know: whose sums count, under which rules; and rules that are to come, with the share of
    the answers that is counted under them."""

    generation: int
    ruled: Versioned
    coming: tuple[Versioned, float] | None


async def lock(uow: UnitOfWork, workspace: str) -> tuple[Progress | None, Versioned]:
    """(how far a workspace is, the rules it wants); nobody else changes it until the transaction ends."""
    row = (await uow.execute(_LOCK, {"workspace": workspace})).first()
    if row is None:
        return None, await wanted(uow, workspace)
    ruled = Versioned(row.rules_version, Rules.of(row.rules))
    draft = None
    if row.draft_version is not None:
        draft = Draft(Versioned(row.draft_version, Rules.of(row.draft_rules)), row.draft_row, row.draft_until)
    progress = Progress(row.next_row, row.published_row, row.hour, row.passes, row.generation, ruled, row.looked, draft)
    if row.wanted_version is None:
        return progress, ruled
    return progress, Versioned(row.wanted_version, Rules.of(row.wanted_rules))


async def begin(uow: UnitOfWork, workspace: str, ruled: Versioned, hour: int) -> None:
    """Note a new workspace; its windows stand at `hour`."""
    await uow.execute(
        _BEGIN,
        {
            "workspace": workspace,
            "hour": hour,
            "turns_at": ruled.rules.grid.as_of(hour),
            "version": ruled.version,
            "rules": json.dumps(ruled.rules.stored()),
        },
    )


async def save(uow: UnitOfWork, workspace: str, now: Progress, published_row: int, hour: int) -> Progress:
    """How far a locked workspace is now; `published_row` and `hour` are where a fresh process has to begin again."""
    draft = now.draft
    await uow.execute(
        _SAVE,
        {
            "workspace": workspace,
            "next_row": now.next_row,
            "published_row": published_row,
            "hour": hour,
            "turns_at": now.ruled.rules.grid.as_of(hour),
            "generation": now.generation,
            "looked": now.looked,
            "version": now.ruled.version,
            "rules": json.dumps(now.ruled.rules.stored()),
            "draft_version": draft and draft.ruled.version,
            "draft_rules": draft and json.dumps(draft.ruled.rules.stored()),
            "draft_row": draft and draft.row,
            "draft_until": draft and draft.until,
        },
    )
    return now._replace(published_row=published_row, passes=now.passes + 1)


async def waiting(reader: Reader, now: datetime) -> set[str]:
    """Workspaces with something to do."""
    return {row.workspace for row in await reader.all(_WAITING, {"now": now})}


async def uncounted(reader: Reader) -> int:
    """Rows of blocks that have no place yet, over all workspaces."""
    return int(await reader.scalar("select coalesce(sum(n), 0) from block where first_row is null"))


async def standing(reader: Reader, workspace: str) -> Standing:
    """Whose sums count."""
    row = await reader.first(_STANDING, {"workspace": workspace})
    wants = await wanted(reader, workspace)
    if row is None:
        return Standing(0, wants, None)
    ruled = Versioned(row.rules_version, Rules.of(row.rules))
    if wants.version in (0, ruled.version):
        return Standing(row.generation, ruled, None)
    share = row.draft_row / max(1, row.draft_until) if row.draft_version == wants.version else 0.0
    return Standing(row.generation, ruled, (wants, share))


async def wanted(connection: Reader | UnitOfWork, workspace: str) -> Versioned:
    """The rules that a workspace wants."""
    found = await rows_of(connection, _WANTED, {"workspace": workspace})
    return Versioned(found[0].version, Rules.of(found[0].body)) if found else Versioned(0, Rules())


async def want(uow: UnitOfWork, workspace: str, rules: Rules) -> int:
    """Ask for other rules; the version that they are. Wakes the projector at the commit."""
    values: Mapping[str, Any] = {"workspace": workspace, "body": json.dumps(rules.stored())}
    version: int = (await uow.execute(_WANT, values)).scalar_one()
    await uow.execute("select pg_notify('scoring_block', '')")
    return version
