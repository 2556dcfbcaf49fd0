"""Keeps the answers of persons beside the sums, where the rules count one per person and survey in a window."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from services.scoring.domain.answers import MICRO, Rows, ids_of
from services.scoring.domain.counting import Ints, hours_of
from services.scoring.domain.repeats import Given, Person, moved
from services.scoring.domain.scores import Tally
from services.scoring.domain.series import series_id
from services.scoring.ledger import Book
from services.scoring.repository import repeats as kept
from shared.db.unit_of_work import UnitOfWork


async def keep(uow: UnitOfWork, book: Book, rows: Rows, origin: Ints, question: Ints, sign: Ints) -> dict[str, int]:
    """Add rows to what their persons have answered, or take them away; series whose scores change by that, each with
    the latest hour that matters."""
    asked = book.asked(origin, question)
    counted = np.flatnonzero((sign != 0) & (asked >= 0) & ((rows["person_low"] != 0) | (rows["person_high"] != 0)))
    come: dict[tuple[Person, Given], int] = defaultdict(int)
    for entry, by in zip(
        _given(book, rows[counted], origin[counted], asked[counted]), sign[counted].tolist(), strict=True
    ):
        if entry is not None:
            come[entry] += by
    changes = {entry: by for entry, by in come.items() if by}
    if not changes:
        return {}
    persons = list({person for person, _ in changes})
    before = await kept.load(uow, book.workspace, book.generation, persons)
    after = {person: set(before.get(person, ())) for person in persons}
    for (person, given), by in sorted(changes.items(), key=lambda change: change[1]):  # what goes, goes first
        after[person] = {one for one in after[person] if one[:2] != given[:2]}
        if by > 0:
            after[person].add(given)
    sums = moved(before, after)
    gone = [(person, one) for person in persons for one in set(before.get(person, ())) - after[person]]
    new = [(person, one) for person in persons for one in after[person] - set(before.get(person, ()))]
    await kept.change(uow, book.workspace, book.generation, gone, new, sums)
    latest: dict[str, int] = {}
    for key in sums:
        latest[key.series] = max(key.later, latest.get(key.series, key.later))
    return latest


def _given(book: Book, rows: Rows, origins: Ints, asked: Ints) -> Iterator[tuple[Person, Given] | None]:
    """Row by row; None for what no survey asked."""
    hours = hours_of(rows["at"], book.rules.grid.offset_microseconds).tolist()
    people, feedback = ids_of(rows, "person_low", "person_high"), ids_of(rows)
    columns = (people, feedback, hours, rows["at"].tolist(), rows["value"].tolist(), origins.tolist(), asked.tolist())
    for person, one, hour, at, value, origin, number in zip(*columns, strict=True):
        survey, question = book.tables.origins.met[origin].survey, book.tables.questions.met[number]
        if survey is None or question.metric in ("sentiment", "response_rate"):
            yield None
            continue
        top, bottom = question.bands()
        micro = round(value * MICRO) if question.formula == "mean" else 0
        tally = Tally(1, int(value >= top), int(value <= bottom), micro, micro * micro)
        series = tuple(series_id(book.series.met[at_]) for at_ in book.series_of(origin, number))
        yield (person, survey, question.metric), Given(at, one, hour, question.measure, tally, series)
