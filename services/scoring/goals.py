"""Use cases of targets: set, take back, and see how far away they are and what they would take."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from services.scoring.domain import scores
from services.scoring.domain.scores import Score, Segments, Tally
from services.scoring.domain.targets import Outlook, Reach, reach
from services.scoring.domain.windows import HOURS_A_DAY, Bounds, Grid, spans_between
from services.scoring.repository import progress, reading, targets
from services.scoring.repository.common import database_now
from services.scoring.repository.targets import Target
from services.scoring.service import Now
from shared.contracts.score_updated import Window
from shared.core.errors import Fault, InvalidInput, NotFound
from shared.db.database import Database

MOST_TARGETS = 1000
_FAR = 1e9
_RANGES: dict[str, tuple[float, float]] = {
    "nps": (-100, 100),
    "csat": (0, 100),
    "sentiment": (-100, 100),
    "response_rate": (0, 100),
}


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
            known = await targets.all_of(reader, workspace)
            # Those of one window and day are read together: a brand has many departments and few days to report on.
            together: dict[tuple[Window, date], list[Target]] = defaultdict(list)
            for target in known:
                together[target.window, target.due].append(target)
            goals: dict[Target, Goal] = {}
            for (window, due), some in together.items():
                frame = _Frame.of(rules.grid, hour, window, due)
                keys, spans, one = [target.key for target in some], spans_between(frame.edges), rules.one_per_person
                sums = await reading.sums(reader, workspace, standing.generation, keys, spans, one_per_person=one)
                goals |= {target: _goal(target, frame, sums[target.key], minimum_n) for target in some}
        return [goals[target] for target in known]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A window as it is, and what of it will still be in it on the day of a target."""

    bound: Bounds
    kept_from: int
    hours_ahead: int
    is_rolling: bool

    @staticmethod
    def of(grid: Grid, hour: int, window: Window, due: date) -> "_Frame":
        bound = grid.bounds(hour)[window]
        kept_from = min(bound.end, max(bound.start, grid.day_bounds(due, window).start))
        hours_ahead = max(0, grid.hour_of_day(due) + HOURS_A_DAY - bound.end)
        return _Frame(bound, kept_from, hours_ahead, window.endswith("d"))

    @property
    def edges(self) -> list[int]:
        return sorted({self.bound.start, self.kept_from, self.bound.end})


def _goal(target: Target, frame: _Frame, sums: Segments, minimum_n: int) -> Goal:
    end = len(frame.edges) - 1
    whole = scores.window_sums(sums, range(end))
    measure = scores.leading_measure(target.key.metric, whole)
    tally = whole.get(measure, Tally())
    score = scores.score_by(measure, tally, None, minimum_n)
    distance = None if score.value is None else round(score.value - target.value, 4)
    if measure != "nps" or tally.n == 0:
        return Goal(target, score, distance, None)
    kept = scores.window_sums(sums, range(frame.edges.index(frame.kept_from), end)).get(measure, Tally())
    length = max(1, frame.bound.end - frame.bound.start)
    ahead = min(frame.hours_ahead, length) if frame.is_rolling else frame.hours_ahead
    outlook = Outlook(kept.n, scores.value_of(measure, kept) or 0.0, tally.n / length * ahead)
    return Goal(target, score, distance, reach(tally.n, tally.top, tally.bottom, target.value, outlook))
