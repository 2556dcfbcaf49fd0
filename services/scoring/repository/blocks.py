"""SQL of blocks: the kept answers of a workspace in the order in which they were counted.

A consumer stores a block as it comes, without a place in that order (`first_row` null); the projector gives it one.
`dead` are rows that do not count any more, or never did, by their position in the block; `replaced` are the rows of
earlier blocks that rows of this one took the place of.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row, text

from services.scoring.domain.answers import NOTHING_ASKED, ROW, Block, Cause, Origin, Question, Rows, Tables
from services.scoring.domain.index import Hashes, Places
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_INSERT = text(
    """insert into block (workspace, n, head, ids, rows, latest)
    select * from unnest(cast(:workspaces as text[]), cast(:ns as integer[]), cast(:heads as text[]),
                         cast(:ids as bytea[]), cast(:rows as bytea[]), cast(:latest as bigint[]))"""
)
# Two statements read what is new: rows that another transaction adds between them are of blocks not seen yet.
_FRESH = text(
    """select id, n, head, rows from (
        select id, n, head, rows, sum(n) over (order by id) - n as before from block
        where workspace = :workspace and first_row is null
    ) as waiting where before < :limit order by id"""
)
_PLACE = text(
    """update block set first_row = placed.first_row, dead = placed.dead, replaced = placed.replaced
    from (select id, first_row, cast(dead as integer[]) as dead, cast(replaced as bigint[]) as replaced
          from unnest(cast(:ids as bigint[]), cast(:first_rows as bigint[]), cast(:dead as text[]),
                      cast(:replaced as text[])) as placed (id, first_row, dead, replaced)) as placed
    where block.workspace = :workspace and block.id = placed.id"""
)
_KILL = text(
    """update block set dead = block.dead || killed.rows
    from (select first_row, array_agg(row) as rows
          from unnest(cast(:first_rows as bigint[]), cast(:rows as integer[])) as killed (first_row, row)
          group by first_row) as killed
    where block.workspace = :workspace and block.first_row = killed.first_row"""
)
# A version has at most 16 rows, which stand together.
_PARTS = 16
_ROWS_AT = text(
    f"""select wanted.row, held.first_row, held.head,
        substring(held.rows from (wanted.row - held.first_row)::integer * {ROW.itemsize} + 1
                  for {ROW.itemsize * _PARTS}) as rows
    from unnest(cast(:rows as bigint[])) as wanted (row)
    cross join lateral (select first_row, head, rows from block
                        where workspace = :workspace and first_row <= wanted.row
                        order by first_row desc limit 1) as held"""  # noqa: S608 - numbers of ours
)
_IDS = text(
    """select first_row, ids, dead from block where workspace = :workspace and first_row >= :from_row
    order by first_row limit 64"""
)
_FROM = text(
    """select first_row, head, rows, dead, replaced from block
    where workspace = :workspace and first_row > :after and first_row + n > :from_row order by first_row limit 8"""
)


_NAMING = text(
    """select first_row, head, rows, dead from block
    where workspace = :workspace and first_row > :after and strpos(head, :survey) > 0
      and exists (select from unnest(cast(:waves as text[])) as waves (wave) where strpos(head, wave) > 0)
    order by first_row limit 8"""
)
_SINCE = text(
    """select first_row, head, rows, dead from block
    where workspace = :workspace and first_row > :after and latest >= :since order by first_row limit 8"""
)
_LAST = text(
    """select first_row, n from block where workspace = :workspace and first_row is not null
    order by first_row desc limit :limit"""
)
_SOME = text(
    """select first_row, head, rows, dead, replaced from block
    where workspace = :workspace and first_row = any(cast(:first_rows as bigint[])) order by first_row"""
)
_FORGET = text("delete from block where workspace = :workspace and first_row = any(cast(:first_rows as bigint[]))")
_INSERT_MERGED = text(
    """insert into block (workspace, first_row, n, head, ids, rows, dead, replaced, latest)
    values (:workspace, :first_row, :n, :head, :ids, :rows, cast(:dead as integer[]), cast(:replaced as bigint[]),
            :latest)"""
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A block with its id, and its place where it has one."""

    id: int
    block: Block


@dataclass(frozen=True, slots=True)
class Held:
    """A stored version: the row it begins at, the block it stands in, and its rows with their origins and questions."""

    row: int
    first_row: int
    block: Block


async def store(uow: UnitOfWork, blocks: Sequence[Block]) -> None:
    """Store blocks as they come, and wake the projector at the commit."""
    await uow.execute(
        _INSERT,
        {
            "workspaces": [block.workspace for block in blocks],
            "ns": [len(block.rows) for block in blocks],
            "heads": [_head(block) for block in blocks],
            "ids": [hashes_of(block.rows).tobytes() for block in blocks],
            "rows": [block.rows.tobytes() for block in blocks],
            "latest": [int(block.rows["at"].max()) for block in blocks],
        },
    )
    await uow.execute("select pg_notify('scoring_block', '')")


async def fresh(uow: UnitOfWork, workspace: str, limit: int) -> list[Stored]:
    """Blocks that have no place yet, in the order they came; about `limit` rows."""
    found = (await uow.execute(_FRESH, {"workspace": workspace, "limit": limit})).all()
    return [Stored(row.id, unpack(workspace, row.head, row.rows)) for row in found]


async def place(
    uow: UnitOfWork,
    workspace: str,
    placed: Iterable[tuple[int, int, Sequence[int], Sequence[int]]],
) -> None:
    """Give blocks their places: (id, first row, dead positions, replaced rows)."""
    ids, first_rows, dead, replaced = zip(*placed, strict=True)
    await uow.execute(
        _PLACE,
        {
            "workspace": workspace,
            "ids": list(ids),
            "first_rows": list(first_rows),
            "dead": [_literal(rows) for rows in dead],
            "replaced": [_literal(rows) for rows in replaced],
        },
    )


async def kill(uow: UnitOfWork, workspace: str, rows: Collection[tuple[int, int]]) -> None:
    """Rows (first row of their block, position in it) count no more."""
    first_rows, positions = zip(*rows, strict=True)
    await uow.execute(_KILL, {"workspace": workspace, "first_rows": list(first_rows), "rows": list(positions)})


async def drop(uow: UnitOfWork, workspace: str, ids: Sequence[int]) -> None:
    """Forget blocks in which nothing counts."""
    await uow.execute(
        "delete from block where workspace = :workspace and id = any(cast(:ids as bigint[]))",
        {"workspace": workspace, "ids": list(ids)},
    )


async def rows_at(uow: UnitOfWork, workspace: str, rows: Sequence[int]) -> list[Held]:
    """The versions that begin at these rows."""
    found = (await uow.execute(_ROWS_AT, {"workspace": workspace, "rows": list(rows)})).all()
    return [_held(workspace, row) for row in found]


def _held(workspace: str, row: Row[Any]) -> Held:
    block = unpack(workspace, row.head, row.rows)
    parts = int(block.rows["parts"][0])
    mine = Block(workspace, block.rows[:parts], block.origins, block.questions, ())
    return Held(row.row, row.first_row, mine)


async def live_ids(uow: UnitOfWork, workspace: str, from_row: int) -> tuple[Hashes, Places, int] | None:
    """Of the next blocks from a row on: hashes of versions that count, their rows, and where to go on; None at the
    end."""
    found = (await uow.execute(_IDS, {"workspace": workspace, "from_row": from_row})).all()
    if not found:
        return None
    hashes, rows = [], []
    for block in found:
        ids = np.frombuffer(block.ids, dtype="<u8")
        live = ids != 0
        live[block.dead] = False
        at = np.flatnonzero(live)
        hashes.append(ids[at])
        rows.append(at + block.first_row)
    return np.concatenate(hashes), np.concatenate(rows), found[-1].first_row + 1


async def placed_from(
    uow: UnitOfWork, workspace: str, from_row: int
) -> AsyncIterator[tuple[int, Block, Sequence[int], Sequence[int]]]:
    """(first row, block, dead positions, rows that it replaced) of the blocks with rows from `from_row` on, in order; a
    few are read at a time."""
    after = -1
    while found := (await uow.execute(_FROM, {"workspace": workspace, "from_row": from_row, "after": after})).all():
        for row in found:
            yield row.first_row, unpack(workspace, row.head, row.rows), row.dead, row.replaced
        after = found[-1].first_row


async def naming(
    reader: Reader, workspace: str, survey: str, waves: Sequence[str]
) -> AsyncIterator[tuple[Block, Sequence[int]]]:
    """(block, dead positions) of the counted blocks that have answers to a survey in one of some waves."""
    values = {"workspace": workspace, "survey": _quoted(survey), "waves": [_quoted(wave) for wave in waves]}
    after = -1
    while found := await reader.all(_NAMING, values | {"after": after}):
        for row in found:
            yield unpack(workspace, row.head, row.rows), row.dead
        after = found[-1].first_row


async def since(reader: Reader, workspace: str, moment: int) -> AsyncIterator[tuple[Block, Sequence[int]]]:
    """(block, dead positions) of the counted blocks that have answers from `moment` (microseconds) on."""
    after = -1
    while found := await reader.all(_SINCE, {"workspace": workspace, "since": moment, "after": after}):
        for row in found:
            yield unpack(workspace, row.head, row.rows), row.dead
        after = found[-1].first_row


def _quoted(word: str) -> str:
    """A word as it stands in the head of a block."""
    return json.dumps(word, ensure_ascii=False)


async def last_places(uow: UnitOfWork, workspace: str, limit: int) -> list[tuple[int, int]]:
    """(first row, rows) of the last blocks, in order."""
    found = (await uow.execute(_LAST, {"workspace": workspace, "limit": limit})).all()
    return [(row.first_row, row.n) for row in reversed(found)]


async def merge(uow: UnitOfWork, workspace: str, first_rows: Sequence[int]) -> int:
    """Make one block of blocks that follow each other, in place of them; how many rows it has. Row numbers stay; the
    causes go, so all must be published."""
    values = {"workspace": workspace, "first_rows": list(first_rows)}
    found = (await uow.execute(_SOME, values)).all()
    several = [unpack(workspace, row.head, row.rows) for row in found]
    merged = _merged(workspace, several)
    starts = np.cumsum([0, *(len(block.rows) for block in several)]).tolist()
    dead = [start + at for start, row in zip(starts, found, strict=False) for at in row.dead]
    await uow.execute(_FORGET, values)
    await uow.execute(
        _INSERT_MERGED,
        {
            "workspace": workspace,
            "first_row": found[0].first_row,
            "n": len(merged.rows),
            "head": _head(merged),
            "ids": hashes_of(merged.rows).tobytes(),
            "rows": merged.rows.tobytes(),
            "latest": int(merged.rows["at"].max()),
            "dead": dead,
            "replaced": [old for row in found for old in row.replaced],
        },
    )
    return len(merged.rows)


def _merged(workspace: str, several: Sequence[Block]) -> Block:
    tables = Tables()
    rows = np.concatenate([block.rows for block in several])
    numbers = [tables.renumbered(block) for block in several]
    rows["origin"] = np.concatenate([origin for origin, _ in numbers])
    question = np.concatenate([question for _, question in numbers])
    rows["question"] = np.where(question < 0, NOTHING_ASKED, question)
    return Block(workspace, rows, tables.origins.met, tables.questions.met, ())


def hashes_of(rows: Rows) -> Hashes:
    """By which versions are found: half of their id on their first row, 0 on the others."""
    hashes: Hashes = np.where(rows["parts"] > 0, np.maximum(rows["id_low"], 1), 0).astype("<u8")
    return hashes


def _head(block: Block) -> str:
    causes = [cause and (str(cause.event_id), str(cause.correlation_id), cause.traceparent) for cause in block.causes]
    return json.dumps([block.origins, block.questions, causes], ensure_ascii=False, separators=(",", ":"))


def unpack(workspace: str, head: str, rows: bytes) -> Block:
    """A stored block."""
    origins, questions, causes = json.loads(head)
    return Block(
        workspace,
        np.frombuffer(rows, dtype=ROW),
        [Origin(*origin) for origin in origins],
        [Question(*question) for question in questions],
        [cause and Cause(UUID(cause[0]), UUID(cause[1]), cause[2]) for cause in causes],
    )


def _literal(numbers: Sequence[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
