"""Use cases of understanding scores: compared with before, what drove a change, the same customers in two waves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import numpy as np

from services.scoring.domain import scores
from services.scoring.domain.answers import Block, KeptMetric, Rows, ids_of
from services.scoring.domain.drivers import Contribution, Part, contributions
from services.scoring.domain.rules import Rules
from services.scoring.domain.scores import Score, Tally
from services.scoring.domain.series import SeriesKey, series_name
from services.scoring.domain.significance import Paired, adjusted, paired
from services.scoring.domain.windows import Bounds, spans_between
from services.scoring.repository import blocks, progress, reading
from services.scoring.repository.common import database_now
from services.scoring.service import Now, rule_version
from shared.contracts.feedback_received import Band, SurveyType, band_of
from shared.contracts.score_updated import Window
from shared.core.errors import Fault, InvalidInput
from shared.db.database import Database, Reader

Against = Literal["previous", "year"]
# At a false discovery rate of 5 % over the series of one answer a change is called significant.
SIGNIFICANT = 0.05
MOST_SERIES = 500


@dataclass(frozen=True, slots=True)
class Compared:
    """A series now and before: `score.previous` has the change and its own p-value, `adjusted_p` is that of all series
    that were asked for together."""

    key: SeriesKey
    score: Score
    adjusted_p: float | None
    significant: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """All series of one set of dimensions; the windows as moments."""

    rule_version: str
    start: datetime
    end: datetime
    before_start: datetime
    before_end: datetime
    items: list[Compared]


@dataclass(frozen=True, slots=True)
class Driver:
    """One part of a series and what it did to the change."""

    value: str
    score: Score
    moved: Contribution


@dataclass(frozen=True, slots=True)
class Drivers:
    """The change of a series, and its parts by one more dimension. `unnamed` are answers of none of the parts."""

    rule_version: str
    score: Score
    unnamed: int
    parts: list[Driver]


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer who answered in both waves."""

    customer_id: UUID
    before: Band
    after: Band
    feedback_before: UUID
    feedback_after: UUID


@dataclass(frozen=True, slots=True)
class Waves:
    """The customers of two waves: `answered` in each, `paired` those of both, and who was won back or lost."""

    answered_before: int
    answered_after: int
    paired: Paired
    recovered: list[Customer]
    lost: list[Customer]


class Analysis:
    """Reads what scoring has counted and kept; changes nothing."""

    def __init__(self, database: Database, *, minimum_n: int, now: Now = database_now) -> None:
        self._database = database
        self._minimum_n = minimum_n
        self._now = now

    async def compare(
        self,
        workspace: str,
        metric: KeptMetric,
        survey_type: SurveyType,
        window: Window,
        by: Sequence[str],
        against: Against,
    ) -> Comparison:
        """Every series of a set of dimensions against the window before, or the same window a year before. Raises
        InvalidInput for a set that no scores are kept by, or that has too many series for one answer."""
        async with self._database.reader(workspace) as reader:
            standing = await progress.standing(reader, workspace)
            rules = standing.ruled.rules
            rules.refuse_unkept("query.by", tuple(by))
            current, before = await self._bounds(reader, rules, window, against)
            keys = await self._series(reader, workspace, standing.generation, metric, survey_type, by)
            scored = await self._scored(reader, workspace, standing, keys, current, before)
        tested = [key for key, score in scored.items() if score.previous and score.previous.p_value is not None]
        p_values = [scored[key].previous.p_value or 0.0 for key in tested]  # type: ignore[union-attr]
        found = dict(zip(tested, adjusted(p_values), strict=True))
        items = [
            Compared(key, score, found.get(key), score.reportable and found.get(key, 1.0) < SIGNIFICANT)
            for key, score in scored.items()
        ]
        start_of = rules.grid.start_of
        return Comparison(
            rule_version=rule_version(standing.ruled.version),
            start=start_of(current.start),
            end=start_of(current.end),
            before_start=start_of(before.start),
            before_end=start_of(before.end),
            items=items,
        )

    async def drivers(self, key: SeriesKey, window: Window, dimension: str, against: Against) -> Drivers:
        """What moved a series, part by part of one more dimension. Raises InvalidInput."""
        names = tuple(sorted((dimension, *(name for name, _ in key.dimensions))))
        async with self._database.reader(key.workspace) as reader:
            standing = await progress.standing(reader, key.workspace)
            rules = standing.ruled.rules
            rules.refuse_unkept("query.by", names)
            current, before = await self._bounds(reader, rules, window, against)
            keys = await self._series(reader, key.workspace, standing.generation, key.metric, key.survey_type, names)
            parts = [one for one in keys if set(key.dimensions) <= set(one.dimensions)]
            tallies = await self._tallies(reader, key.workspace, standing, [key, *parts], current, before)
        measure = scores.leading_measure(key.metric, *tallies[key])
        now, then = ({one: _part(measure, tallies[one][side]) for one in parts} for side in (0, 1))
        moved = contributions(then, now)
        minimum_n = rules.minimum_n or self._minimum_n
        listed = [
            Driver(dict(one.dimensions)[dimension], self._of_measure(measure, tallies[one], minimum_n), contribution)
            for one, contribution in moved.items()
        ]
        whole = self._of_measure(measure, tallies[key], minimum_n)
        unnamed = whole.n - sum(part.n for part in now.values())
        return Drivers(rule_version(standing.ruled.version), whole, unnamed, listed)

    async def waves(self, workspace: str, survey: str, before: str, after: str) -> Waves:
        """The same customers in two waves of a survey, by their latest NPS answer in each."""
        if before == after:
            raise InvalidInput("A wave cannot be compared with itself.", faults=[Fault("query.after", "name another")])
        async with self._database.reader(workspace) as reader:
            found: dict[str, dict[UUID, tuple[int, UUID, Band]]] = {before: {}, after: {}}
            async for block, dead in blocks.naming(reader, workspace, survey, (before, after)):
                for wave, latest in found.items():
                    _gather(latest, block, dead, survey, wave)
        both = sorted(found[before].keys() & found[after].keys())
        customers = [
            Customer(one, first[2], last[2], first[1], last[1])
            for one in both
            for first, last in [(found[before][one], found[after][one])]
        ]
        return Waves(
            len(found[before]),
            len(found[after]),
            paired((one.before, one.after) for one in customers),
            [one for one in customers if one.before == "detractor" and one.after != "detractor"],
            [one for one in customers if one.before != "detractor" and one.after == "detractor"],
        )

    async def _bounds(self, reader: Reader, rules: Rules, window: Window, against: Against) -> tuple[Bounds, Bounds]:
        grid = rules.grid
        now = grid.hour_of(await self._now(reader))
        bound = grid.bounds(now)[window]
        if against == "previous":
            return bound, Bounds(bound.before, bound.before, bound.start)
        start, end = (grid.a_year_before(hour) for hour in (bound.start, bound.end))
        return bound, Bounds(start, start, end)

    async def _series(
        self, reader: Reader, workspace: str, generation: int, metric: str, survey_type: str, by: Sequence[str]
    ) -> list[SeriesKey]:
        rows = await reading.list_series(
            reader,
            workspace,
            generation,
            metric=metric,
            survey_type=survey_type,
            dimensions={},
            by=by,
            windows=("7d",),
            after=("", ""),
            limit=MOST_SERIES + 1,
        )
        if len(rows) > MOST_SERIES:
            fault = Fault("query.by", f"has more than {MOST_SERIES} series; choose fewer dimensions")
            raise InvalidInput("That is too much for one answer.", faults=[fault])
        return [key for key, _ in rows]

    async def _scored(
        self,
        reader: Reader,
        workspace: str,
        standing: progress.Standing,
        keys: Sequence[SeriesKey],
        current: Bounds,
        before: Bounds,
    ) -> dict[SeriesKey, Score]:
        tallies = await self._tallies(reader, workspace, standing, keys, current, before)
        minimum_n = standing.ruled.rules.minimum_n or self._minimum_n
        return {key: scores.score_of(key.metric, *tallies[key], minimum_n) for key in sorted(keys, key=series_name)}

    async def _tallies(
        self,
        reader: Reader,
        workspace: str,
        standing: progress.Standing,
        keys: Sequence[SeriesKey],
        current: Bounds,
        before: Bounds,
    ) -> dict[SeriesKey, tuple[dict[str, Tally], dict[str, Tally]]]:
        edges = sorted({current.start, current.end, before.start, before.end})
        one = standing.ruled.rules.one_per_person
        spans = spans_between(edges)
        sums = (
            await reading.sums(reader, workspace, standing.generation, keys, spans, one_per_person=one) if keys else {}
        )
        ranges = [range(edges.index(one.start), edges.index(one.end)) for one in (current, before)]
        now, then = ranges
        return {key: (scores.window_sums(sums[key], now), scores.window_sums(sums[key], then)) for key in keys}

    def _of_measure(self, measure: str, sides: tuple[dict[str, Tally], dict[str, Tally]], minimum_n: int) -> Score:
        now, then = (side.get(measure, Tally()) for side in sides)
        return scores.score_by(measure, now, then, minimum_n).with_uncounted(
            lambda beside: sides[0].get(beside, Tally()).n
        )


def _part(measure: str, side: Mapping[str, Tally]) -> Part:
    tally = side.get(measure, Tally())
    value = scores.value_of(measure, tally)
    return Part(0, 0.0) if value is None else Part(tally.n, value)


def _gather(
    latest: dict[UUID, tuple[int, UUID, Band]], block: Block, dead: Sequence[int], survey: str, wave: str
) -> None:
    """Of each person of a wave in a block the latest NPS answer."""
    origins = [n for n, one in enumerate(block.origins) if one.survey == survey and one.wave == wave]
    asked = [n for n, one in enumerate(block.questions) if one.metric == "nps"]
    rows: Rows = block.rows
    wanted = np.isin(rows["origin"], origins) & np.isin(rows["question"], asked) & (rows["removed"] == 0)
    wanted &= (rows["person_low"] != 0) | (rows["person_high"] != 0)
    wanted[list(dead)] = False
    some = rows[wanted]
    people = ids_of(some, "person_low", "person_high")
    for person, feedback, at, value in zip(
        people, ids_of(some), some["at"].tolist(), some["value"].tolist(), strict=True
    ):
        if person not in latest or latest[person][0] < at:
            latest[person] = (at, feedback, band_of(value))
