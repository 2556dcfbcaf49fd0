"""One transaction of the projector: rows become sums, and what is due becomes events.

Exactly once: the progress of the workspace, the sums and the outgoing events change together, under its row's lock.
Only one transaction at a time works on a workspace, so that it adds to what it remembers instead of reading it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.scoring import repeats
from services.scoring.domain.answers import Block, Cause, Rows, Tables, ids_of
from services.scoring.domain.counting import DayRow, DaySums, Ints, by_day, cells_of, hours_of
from services.scoring.domain.series import series_id
from services.scoring.domain.versions import Contest, contest, repeated
from services.scoring.domain.windows import HOURS_A_DAY, WINDOWS, Grid, moved
from services.scoring.ledger import Book, Due, Ledger
from services.scoring.repository import blocks, days, publication
from services.scoring.repository import repeats as pairs
from services.scoring.repository.blocks import Held, Stored
from services.scoring.repository.days import unpack
from services.scoring.repository.progress import Draft, Progress, Versioned
from shared.db.unit_of_work import UnitOfWork

_NONE_ALIVE = -1
_PLACES_LOOKED_AT = 500
_NOTHING = DayRow(np.zeros((HOURS_A_DAY, 3), dtype=np.int64), None)
# Rows that a draft gets on by in one transaction, beside what comes meanwhile.
DRAFT_ROWS = 50_000
_FORGOTTEN_AT_ONCE = 5_000


class _Columns(NamedTuple):
    """Rows of several blocks one behind the other, with the ledger's numbers."""

    rows: Rows
    origin: Ints
    question: Ints


async def open_ledger(uow: UnitOfWork, workspace: str, progress: Progress, now: int) -> Ledger:
    """Read what is remembered of a workspace, and find what a crash has left unpublished. `now` is the running hour."""
    book = Book(workspace, progress.generation, progress.ruled.rules, Tables())
    ledger = Ledger(workspace, progress, book)
    if progress.draft is not None:
        ledger.draft = Book(workspace, progress.draft.ruled.version, progress.draft.ruled.rules, book.tables)
    for either in filter(None, (book, ledger.draft)):
        for key in await publication.all_series(uow, workspace, either.generation):
            either.know(key)
    from_row = 0
    while (part := await blocks.live_ids(uow, workspace, from_row)) is not None:
        hashes, rows, from_row = part
        order = np.argsort(hashes)
        ledger.index.add(hashes[order], rows[order])
    for place in await blocks.last_places(uow, workspace, _PLACES_LOOKED_AT):
        ledger.placed(*place)
    if progress.published_row < 0 or (book.rules.one_per_person and progress.published_row < progress.next_row):
        await look_at_all(uow, ledger)  # an answer also moves series of the person's answer before it
    elif progress.published_row < progress.next_row:
        await _find_unpublished(uow, ledger, now)
    return ledger


async def look_at_all(uow: UnitOfWork, ledger: Ledger) -> None:
    """Make due whatever was ever published and whatever there is: other rules, or sums that were mended."""
    due = Due(-1, ledger.progress.hour, "rebuild")
    keys = await publication.all_series(uow, ledger.workspace, ledger.book.generation)
    shown = [(series_id(key), window) for key in keys for window in WINDOWS]
    ledger.due |= dict.fromkeys([*await publication.ever_published(uow, ledger.workspace), *shown], due)


async def _find_unpublished(uow: UnitOfWork, ledger: Ledger, now: int) -> None:
    """Whatever rows from `published_row` on have touched is due again; what has not changed is not sent again."""
    row, hour = ledger.progress.published_row, ledger.progress.hour
    async for _, block, _, replaced in blocks.placed_from(uow, ledger.workspace, row):
        held = await blocks.rows_at(uow, ledger.workspace, replaced) if replaced else []
        columns = _columns(ledger, [block, *(one.block for one in held)])
        sums = _by_day(ledger.book, columns, np.ones(len(columns.rows), dtype=np.int64))
        _touch(ledger, sums, _causes(ledger, [block]), row, hour, now)


async def count(uow: UnitOfWork, ledger: Ledger, fresh: Sequence[Stored], now: int) -> None:
    """Count blocks that came: give them their place, take back what they replace, add to the sums."""
    columns = _columns(ledger, [one.block for one in fresh])
    ends = np.cumsum([len(one.block.rows) for one in fresh])
    outcome, held = await _contest(uow, ledger, columns)
    alive = np.ones(len(columns.rows), dtype=bool)
    for position in outcome.dead:
        alive[position : position + int(columns.rows["parts"][position])] = False
    firsts, following = _places(alive, ends, ledger.progress.next_row)
    numbers = np.repeat(firsts - np.append(0, ends[:-1]), np.diff(ends, prepend=0)) + np.arange(len(alive))

    await _keep_places(uow, ledger, fresh, alive, firsts, ends, outcome)
    if held:
        await blocks.kill(uow, ledger.workspace, [(one.first_row, at) for one in held for at in _positions(one)])
    await _add(uow, ledger, columns, alive, held, _causes(ledger, [one.block for one in fresh]), now)
    _reindex(ledger, columns.rows, alive, numbers, outcome)
    ledger.progress = ledger.progress._replace(next_row=following)


def _columns(ledger: Ledger, several: Sequence[Block]) -> _Columns:
    numbers = [ledger.tables.renumbered(block) for block in several]
    return _Columns(
        np.concatenate([block.rows for block in several]),
        np.concatenate([origin for origin, _ in numbers]),
        np.concatenate([question for _, question in numbers]),
    )


async def _contest(uow: UnitOfWork, ledger: Ledger, columns: _Columns) -> tuple[Contest, list[Held]]:
    """Which versions count, and the stored ones that they replace. Nearly all feedback has one version: those whose
    hash nobody shares are through at once."""
    heads = np.flatnonzero(columns.rows["parts"])
    hashes = blocks.hashes_of(columns.rows[heads])
    order = np.argsort(hashes, kind="stable")
    found, rows = ledger.index.find(hashes[order])
    suspect = repeated(hashes[order])
    suspect[found] = True
    if not suspect.any():
        return Contest([], {}), []
    stored = await blocks.rows_at(uow, ledger.workspace, sorted(set(rows.tolist()))) if len(rows) else []
    by_id = {ids_of(one.block.rows[:1])[0]: one for one in stored}
    ranks = {
        key: (one.row, (int(one.block.rows["revision"][0]), int(one.block.rows["removed"][0])))
        for key, one in by_id.items()
    }
    outcome = contest(columns.rows, np.sort(heads[order[suspect]]), ranks)
    replaced = set(outcome.replaced.values())
    return outcome, [one for one in stored if one.row in replaced]


def _places(alive: NDArray[np.bool_], ends: NDArray[np.intp], next_row: int) -> tuple[Ints, int]:
    """The first row of each block, and the row behind the last. A block in which nothing counts gets none."""
    sizes = np.diff(ends, prepend=0)
    kept = np.add.reduceat(alive, ends - sizes) > 0
    after = next_row + np.cumsum(sizes * kept)
    return np.where(kept, after - sizes, _NONE_ALIVE), int(after[-1])


async def _keep_places(
    uow: UnitOfWork,
    ledger: Ledger,
    fresh: Sequence[Stored],
    alive: NDArray[np.bool_],
    firsts: Ints,
    ends: NDArray[np.intp],
    outcome: Contest,
) -> None:
    placed, empty = [], []
    replaced = np.array(sorted(outcome.replaced), dtype=np.int64)
    start = 0
    for one, first, end in zip(fresh, firsts.tolist(), ends.tolist(), strict=True):
        if first == _NONE_ALIVE:
            empty.append(one.id)
        else:
            dead = np.flatnonzero(~alive[start:end]).tolist()
            mine = replaced[(replaced >= start) & (replaced < end)].tolist()
            ledger.placed(first, end - start)
            placed.append((one.id, first, dead, [outcome.replaced[position] for position in mine]))
        start = end
    if placed:
        await blocks.place(uow, ledger.workspace, placed)
    if empty:
        await blocks.drop(uow, ledger.workspace, empty)


def _positions(held: Held) -> range:
    start = held.row - held.first_row
    return range(start, start + len(held.block.rows))


async def _add(
    uow: UnitOfWork,
    ledger: Ledger,
    columns: _Columns,
    alive: NDArray[np.bool_],
    held: Sequence[Held],
    causes: dict[int, Cause],
    now: int,
) -> None:
    gone = _columns(ledger, [one.block for one in held]) if held else None
    sign = alive.astype(np.int64)
    if gone:
        for origin in gone.origin.tolist():
            causes.setdefault(origin, next(iter(causes.values())))
        signs = np.append(sign, np.full(len(gone.rows), -1))
        await _keep(uow, ledger, _together(columns, gone), signs, causes, now)
    else:
        await _keep(uow, ledger, columns, sign, causes, now)
    if ledger.draft and ledger.progress.draft:
        # What the draft has not come to yet it will find gone.
        counted = [one for one in held if not ledger.progress.draft.row <= one.row < ledger.progress.draft.until]
        if counted:
            gone = _columns(ledger, [one.block for one in counted])
            columns, sign = _together(columns, gone), np.append(sign, np.full(len(gone.rows), -1))
        await _keep_sums(uow, ledger.draft, columns, sign)
        await _keep_repeats(uow, ledger.draft, columns, sign)


async def _keep(
    uow: UnitOfWork, ledger: Ledger, columns: _Columns, sign: Ints, causes: dict[int, Cause], now: int
) -> None:
    """Add rows to what is published, and make due what changes."""
    row, hour = ledger.progress.next_row, ledger.progress.hour
    _touch(ledger, await _keep_sums(uow, ledger.book, columns, sign), causes, row, hour, now)
    due = Due(row, hour, "feedback", next(iter(causes.values()), None))
    for series, latest in (await _keep_repeats(uow, ledger.book, columns, sign)).items():
        ledger.touch(series, latest, now, due)


async def _keep_repeats(uow: UnitOfWork, book: Book, columns: _Columns, sign: Ints) -> dict[str, int]:
    return await repeats.keep(uow, book, *columns, sign) if book.rules.one_per_person else {}


def _together(columns: _Columns, more: _Columns) -> _Columns:
    return _Columns(*(np.concatenate(both) for both in zip(columns, more, strict=True)))


async def _keep_sums(uow: UnitOfWork, book: Book, columns: _Columns, sign: Ints) -> list[DaySums]:
    """Add rows to the stored sums; what really changes."""
    sums = [one for one in _by_day(book, columns, sign) if _changes(one)]
    if not sums:
        return []
    if book.fresh_series:
        await publication.keep_series(uow, book.workspace, book.generation, book.fresh_series)
        book.fresh_series = []
    keys = {book.day_key(one): one for one in sums}
    # Held here, not in the book: there may be more of them than it remembers.
    before = {key: book.days[key] for key in keys if key in book.days}
    if missing := [key for key in keys if key not in before]:
        before |= await days.load(uow, book.workspace, book.generation, missing)
    rows = {key: before.get(key, _NOTHING).plus(one.counts, one.sums) for key, one in keys.items()}
    await days.keep(uow, book.workspace, book.generation, rows)
    book.keep_days(rows)
    return sums


def _changes(sums: DaySums) -> bool:
    return bool(sums.counts.any()) or (sums.sums is not None and bool(sums.sums.any()))


def _by_day(book: Book, columns: _Columns, sign: Ints) -> list[DaySums]:
    counted = sign != 0
    rows, origin = columns.rows[counted], columns.origin[counted]
    asked = book.asked(origin, columns.question[counted])
    questions = book.tables.questions.met
    hours = hours_of(rows["at"], book.rules.grid.offset_microseconds)
    cells = cells_of(origin, asked, hours, rows["value"], sign[counted], questions)
    measures = [book.measures.number(one.measure) for one in questions]
    means = {number for number, one in zip(measures, questions, strict=True) if one.formula == "mean"}
    return by_day(cells, book.series_of, measures, means)


def _causes(ledger: Ledger, several: Sequence[Block]) -> dict[int, Cause]:
    """The last event of each origin."""
    return {
        ledger.tables.origins.number(origin): cause
        for block in several
        for origin, cause in zip(block.origins, block.causes, strict=False)
        if cause is not None
    }


def _touch(ledger: Ledger, sums: Sequence[DaySums], causes: dict[int, Cause], row: int, hour: int, now: int) -> None:
    by_series: dict[int, Cause] = {}
    for origin, cause in causes.items():
        by_series |= dict.fromkeys(ledger.book.series_from(origin), cause)
    for one in sums:
        latest = one.day * HOURS_A_DAY + int(np.flatnonzero(one.counts.any(axis=1) | _moved(one)).max())
        due = Due(row, hour, "feedback", by_series.get(one.series))
        ledger.touch(series_id(ledger.book.series.met[one.series]), latest, now, due)


def _moved(sums: DaySums) -> NDArray[np.bool_]:
    """Hours whose sums change although their counts do not."""
    if sums.sums is None:
        return np.zeros(HOURS_A_DAY, dtype=bool)
    moved = sums.sums.astype(bool)
    either: NDArray[np.bool_] = moved[:, 0] | moved[:, 1]
    return either


def _reindex(ledger: Ledger, rows: Rows, alive: NDArray[np.bool_], numbers: Ints, outcome: Contest) -> None:
    heads = np.flatnonzero((rows["parts"] > 0) & alive)
    replacing = np.isin(heads, list(outcome.replaced)) if outcome.replaced else np.zeros(len(heads), dtype=bool)
    hashes = blocks.hashes_of(rows)
    ledger.index.move((int(hashes[at]), old, int(numbers[at])) for at, old in outcome.replaced.items())
    fresh = heads[~replacing]
    order = np.argsort(hashes[fresh])
    ledger.index.add(hashes[fresh][order], numbers[fresh][order])


async def merge_small(uow: UnitOfWork, ledger: Ledger) -> None:
    """Keep the number of blocks in bounds."""
    if merging := ledger.to_merge():
        rows = await blocks.merge(uow, ledger.workspace, [first for first, _ in merging])
        rest = ledger.small[len(merging) :]
        ledger.small = []
        for place in [(merging[0][0], rows), *rest]:
            ledger.placed(*place)


async def turn_hour(uow: UnitOfWork, ledger: Ledger, now: int) -> None:
    """Make due what changes because windows have moved from the ledger's hour to `now`, however many hours."""
    before, book = ledger.progress.hour, ledger.book
    if before >= now:
        return
    due = Due(ledger.progress.next_row, before, "tick")
    for window, ranges in moved(before, now, book.rules.grid).items():
        for low, end in ranges:
            first, last = low // HOURS_A_DAY, (end - 1) // HOURS_A_DAY
            for row in await publication.rows_between(uow, ledger.workspace, book.generation, first, last):
                hours = unpack(row.hours).counts[:, 0]
                if hours[max(0, low - row.day * HOURS_A_DAY) : max(0, end - row.day * HOURS_A_DAY)].any():
                    ledger.due.setdefault((row.series.hex, window), due)
            if book.rules.one_per_person:
                for series in await pairs.later_in(uow, ledger.workspace, book.generation, low, end):
                    ledger.due.setdefault((series, window), due)
    ledger.progress = ledger.progress._replace(hour=now)


# Other rules


async def change_rules(uow: UnitOfWork, ledger: Ledger, wanted: Versioned) -> None:
    """Begin what other rules need: nothing but to publish where the sums stay the same, else a draft of new sums."""
    progress = ledger.progress
    under_way = progress.draft.ruled.version if progress.draft else progress.ruled.version
    if wanted.version == under_way:
        return
    ledger.draft, ledger.stale, progress = None, True, progress._replace(draft=None)
    if wanted.rules.counts_like(progress.ruled.rules):
        ledger.progress = progress._replace(ruled=wanted)
        ledger.book.rules = wanted.rules
        await look_at_all(uow, ledger)
        return
    ledger.progress = progress._replace(draft=Draft(wanted, 0, progress.next_row))
    ledger.draft = Book(ledger.workspace, wanted.version, wanted.rules, ledger.tables)


async def go_on_with_draft(uow: UnitOfWork, ledger: Ledger, hour_of: Callable[[Grid], int]) -> None:
    """Count some more of the kept answers under the rules to come; when all are, those rules count from now on, in
    one step."""
    draft, book = ledger.progress.draft, ledger.draft
    if draft is None or book is None:
        return
    counted = draft.row
    async for first_row, block, dead, _ in blocks.placed_from(uow, ledger.workspace, draft.row):
        if first_row >= draft.until or counted - draft.row >= DRAFT_ROWS:
            break
        sign = np.ones(len(block.rows), dtype=np.int64)
        sign[dead] = 0
        columns = _columns(ledger, [block])
        await _keep_sums(uow, book, columns, sign)
        await _keep_repeats(uow, book, columns, sign)
        counted = first_row + len(block.rows)
    else:
        counted = draft.until
    if counted < draft.until:
        ledger.progress = ledger.progress._replace(draft=draft._replace(row=counted))
        return
    hour = hour_of(draft.ruled.rules.grid)
    ledger.progress = ledger.progress._replace(
        draft=None, ruled=draft.ruled, generation=book.generation, hour=hour, looked=hour - 1, published_row=-1
    )
    ledger.book, ledger.draft, ledger.due, ledger.stale = book, None, {}, True
    await look_at_all(uow, ledger)


async def forget_stale(uow: UnitOfWork, ledger: Ledger) -> None:
    """Delete some of the sums that no rules need any more."""
    if ledger.stale:
        kept = [ledger.book.generation, *([ledger.draft.generation] if ledger.draft else [])]
        ledger.stale = await publication.forget_generations(uow, ledger.workspace, kept, _FORGOTTEN_AT_ONCE)
