"""Use cases of targets: set, take back, and see how far away they are and what they would take."""

from dataclasses import dataclass
from datetime import date

from services.scoring.domain import scores
from services.scoring.domain.rules import Rules
from services.scoring.domain.scores import Score, Tally
from services.scoring.domain.targets import Outlook, Reach, reach
from services.scoring.domain.windows import HOURS_A_DAY, Grid, spans_between
from services.scoring.repository import progress, reading, targets
from services.scoring.repository.common import database_now
from services.scoring.repository.targets import Target
from services.scoring.service import Now
from shared.contracts.score_updated import Window
from shared.core.errors import Fault, InvalidInput, NotFound
from shared.db.database import Database, Reader

MOST_TARGETS = 1000
_FAR = 1e9
_RANGES: dict[str, tuple[float, float]] = {"nps": (-100, 100), "csat": (0, 100), "sentiment": (-100, 100)}


@dataclass(frozen=True, slots=True)
class Goal:
    """A target with the score as it is; `reach` for NPS alone."""

    target: Target
    score: Score
    distance: float | None
    reach: Reach | None


class Goals:
    """Targets of workspaces."""

    def __init__(self, database: Database, *, minimum_n: int, now: Now = database_now) -> None:
        self._database = database
        self._minimum_n = minimum_n
        self._now = now

    async def put(self, target: Target) -> None:
        """Set a target. Raises InvalidInput for a day in the past, a value that cannot be, dimensions that no scores
        are kept by, and more targets than there may be."""
        workspace = target.key.workspace
        async with self._database.reader(workspace) as reader:
            rules = (await progress.standing(reader, workspace)).ruled.rules
            today = rules.grid.day_at(rules.grid.hour_of(await self._now(reader)))
            known = await targets.all_of(reader, workspace)
        rules.refuse_unkept("dimensions", tuple(name for name, _ in target.key.dimensions))
        if target.due < today:
            raise InvalidInput("A target lies ahead.", faults=[Fault("due", f"is before today, {today.isoformat()}")])
        low, high = _RANGES.get(target.key.metric, (-_FAR, _FAR))
        if not low <= target.value <= high:
            fault = Fault("value", f"{target.key.metric} lies between {low:g} and {high:g}")
            raise InvalidInput("That value cannot be reached.", faults=[fault])
        if len(known) >= MOST_TARGETS:
            raise InvalidInput(f"A workspace has at most {MOST_TARGETS} targets; remove some.")
        async with self._database.unit_of_work(workspace) as uow:
            await targets.keep(uow, target)

    async def remove(self, target: Target) -> None:
        """Take a target back. Raises NotFound."""
        async with self._database.unit_of_work(target.key.workspace) as uow:
            if not await targets.remove(uow, target):
                raise NotFound("there is no such target")

    async def all_of(self, workspace: str) -> list[Goal]:
        """All targets with where they stand, the next first."""
        async with self._database.reader(workspace) as reader:
            standing = await progress.standing(reader, workspace)
            rules = standing.ruled.rules
            hour = rules.grid.hour_of(await self._now(reader))
            minimum_n = rules.minimum_n or self._minimum_n
            return [
                await self._goal(reader, standing.generation, rules, hour, target, minimum_n)
                for target in await targets.all_of(reader, workspace)
            ]

    async def _goal(
        self, reader: Reader, generation: int, rules: Rules, hour: int, target: Target, minimum_n: int
    ) -> Goal:
        grid = rules.grid
        bound = grid.bounds(hour)[target.window]
        kept_from = min(bound.end, max(bound.start, _start_on(grid, target.due, target.window)))
        edges = sorted({bound.start, kept_from, bound.end})
        key = target.key
        spans = spans_between(edges)
        found = await reading.sums(reader, key.workspace, generation, [key], spans, one_per_person=rules.one_per_person)
        sums, end = found[key], len(edges) - 1
        whole = scores.window_sums(sums, range(end))
        measure = scores.leading_measure(key.metric, whole)
        tally = whole.get(measure, Tally())
        score = scores.score_by(measure, tally, None, minimum_n)
        distance = None if score.value is None else round(score.value - target.value, 4)
        if measure != "nps" or tally.n == 0:
            return Goal(target, score, distance, None)
        kept = scores.window_sums(sums, range(edges.index(kept_from), end))
        kept_tally = kept.get(measure, Tally())
        hours_ahead = max(0, grid.hour_of_day(target.due) + HOURS_A_DAY - bound.end)
        length = max(1, bound.end - bound.start)
        coming = tally.n / length * min(hours_ahead, length if target.window.endswith("d") else hours_ahead)
        outlook = Outlook(kept_tally.n, scores.value_of(measure, kept_tally) or 0.0, coming)
        return Goal(target, score, distance, reach(tally.n, tally.top, tally.bottom, target.value, outlook))


def _start_on(grid: Grid, day: date, window: Window) -> int:
    """The hour with which the window begins that ends with a day."""
    return grid.day_bounds(day, window).start
