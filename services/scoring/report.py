"""Use case: the quarterly report, out of what scoring has counted and kept."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import get_args
from uuid import UUID

import numpy as np

from services.scoring.domain import scores
from services.scoring.domain.answers import Block, KeptMetric, ids_of, microseconds
from services.scoring.domain.report import (
    Mover,
    Quarter,
    QuarterReport,
    Recovery,
    ReportScore,
    ReportTarget,
    Sides,
    Voice,
    Week,
    messages,
    most_moving,
    movers_of,
    recovery_of,
    voices,
)
from services.scoring.domain.scores import Measured, Segments
from services.scoring.domain.series import SeriesKey, series_name
from services.scoring.domain.windows import Grid, spans_between
from services.scoring.repository import blocks, care, progress, reading, targets
from services.scoring.repository.care import Period
from services.scoring.repository.common import database_now
from services.scoring.repository.targets import Target
from services.scoring.service import Now, rule_version
from shared.contracts.feedback_received import band_of
from shared.core.errors import Fault, InvalidInput
from shared.db.database import Database, Reader

# By which dimensions a change is explained, where a workspace keeps scores by them.
_EXPLAINING = ("department", "touchpoint", "product", "segment", "channel")
_MOST_PARTS = 2000
_METRICS: tuple[KeptMetric, ...] = get_args(KeptMetric)
# What messages say is told by issue; of a response rate no change can be tested.
_UNMOVED = ("sentiment", "response_rate")
_DAYS_A_WEEK = 7


@dataclass(frozen=True)
class _Frame:
    """The hours of a report: the quarter until `end`, and the two it is held against."""

    grid: Grid
    quarter: Quarter
    now: int

    @property
    def start(self) -> int:
        return self._begin(0)

    @property
    def finish(self) -> int:
        return self._begin(1)

    @property
    def end(self) -> int:
        return min(self.finish, self.now + 1)

    @property
    def before(self) -> tuple[int, int]:
        return self._begin(-1), self.start

    @property
    def year_before(self) -> tuple[int, int]:
        """The same quarter a year earlier; as much of it as there is of this one."""
        whole = self._begin(-3)
        return self._begin(-4), whole if self.end == self.finish else min(whole, self.grid.a_year_before(self.end))

    @property
    def weeks(self) -> list[tuple[date, int, int]]:
        """(first day, hours from, to before)."""
        first, found = self.quarter.first, list[tuple[date, int, int]]()
        while (start := self.grid.hour_of_day(first)) < self.end:
            following = first + timedelta(days=_DAYS_A_WEEK)
            found.append((first, start, min(self.end, self.grid.hour_of_day(following))))
            first = following
        return found

    @property
    def edges(self) -> list[int]:
        weeks = (hour for _, start, end in self.weeks for hour in (start, end))
        return sorted({self.start, self.end, *self.before, *self.year_before, *weeks})

    def _begin(self, by: int) -> int:
        return self.grid.hour_of_day(self.quarter.moved(by).first)


class _Sums:
    """The sums of series between the edges of a frame."""

    def __init__(self, frame: _Frame, found: Mapping[SeriesKey, Segments]) -> None:
        self._found = found
        self._frame = frame

    def between(self, key: SeriesKey, start: int, end: int) -> Measured:
        """What lies from `start` to before `end`, by measure."""
        edges = self._frame.edges
        return scores.window_sums(self._found[key], range(edges.index(start), edges.index(end)))

    def sides(self, key: SeriesKey) -> Sides:
        """Those of the quarter and of the one before."""
        return self.between(key, self._frame.start, self._frame.end), self.between(key, *self._frame.before)


class Reports:
    """Reads what scoring has counted and kept, and what managers wrote."""

    def __init__(self, database: Database, *, minimum_n: int, now: Now = database_now) -> None:
        self._database = database
        self._minimum_n = minimum_n
        self._now = now

    async def quarter(self, workspace: str, department: str | None, asked: Quarter | None) -> QuarterReport:
        """The report of a quarter, by default of the running one. Raises InvalidInput for one to come, and where
        no scores are kept by department."""
        async with self._database.reader(workspace) as reader:
            standing = await progress.standing(reader, workspace)
            rules, grid = standing.ruled.rules, standing.ruled.rules.grid
            base = () if department is None else (("department", department),)
            rules.refuse_unkept("query.department", tuple(name for name, _ in base))
            now = grid.hour_of(await self._now(reader))
            frame = _Frame(grid, asked or Quarter.of(grid.day_at(now)), now)
            if frame.start >= frame.end:
                fault = Fault("query.quarter", f"begins later than today, {grid.day_at(now).isoformat()}")
                raise InvalidInput("There is nothing to report of that quarter yet.", faults=[fault])
            roll_ups = [names for names in rules.roll_ups if {name for name, _ in base} <= set(names)]
            keys = await _series(reader, workspace, standing.generation, base, roll_ups)
            spans = spans_between(frame.edges)
            one = rules.one_per_person
            found = await reading.sums(reader, workspace, standing.generation, keys, spans, one_per_person=one)
            sums = _Sums(frame, found)
            whole = [key for key in keys if key.dimensions == base]
            minimum_n = rules.minimum_n or self._minimum_n
            goals = await targets.all_of(reader, workspace)
            shown = [_score(key, frame, sums, goals, minimum_n) for key in whole]
            period = Period(workspace, department, grid.start_of(frame.start), grid.start_of(frame.end))
            said = _together(sums.sides(key) for key in whole if key.metric == "sentiment")
            return QuarterReport(
                workspace=workspace,
                department=department,
                quarter=str(frame.quarter),
                start=period.start,
                end=grid.start_of(frame.finish),
                as_of=period.end,
                time_zone=rules.time_zone,
                rule_version=rule_version(standing.ruled.version),
                scores=tuple(sorted((one for one in shown if _is_there(one)), key=_rank)),
                movers=tuple(_movers(whole, keys, sums, minimum_n)),
                messages=messages(said[0]),
                previous_messages=messages(said[1]),
                voice=tuple(_voices(keys, base, sums, said)),
                cases=await care.cases(reader, period),
                recovery=await _recovery(reader, period),
                obstacles=await care.obstacles(reader, workspace, department, str(frame.quarter)),
            )

    async def write_obstacles(self, workspace: str, department: str | None, quarter: Quarter, text: str) -> None:
        """Put what a manager says stands in the way into a report; an empty text takes it out."""
        async with self._database.unit_of_work(workspace) as uow:
            await care.write_obstacles(uow, workspace, department, str(quarter), text)


async def _series(
    reader: Reader,
    workspace: str,
    generation: int,
    base: tuple[tuple[str, str], ...],
    roll_ups: Sequence[tuple[str, ...]],
) -> list[SeriesKey]:
    """The series of a department, and its parts by one more dimension."""
    wanted = [names for names in roll_ups if len(names) <= len(base) + 1]
    explaining = {*_EXPLAINING, "issue"}
    found: list[SeriesKey] = []
    for names in wanted:
        if explaining >= set(names):
            listed = await reading.list_series(
                reader,
                workspace,
                generation,
                metric=None,
                survey_type=None,
                dimensions=dict(base),
                by=names,
                windows=("quarter",),
                after=("", ""),
                limit=_MOST_PARTS,
            )
            found += [key for key, _ in listed]
    return sorted(found, key=series_name)


def _score(key: SeriesKey, frame: _Frame, sums: _Sums, goals: Sequence[Target], minimum_n: int) -> ReportScore:
    now, before = sums.sides(key)
    a_year_before = sums.between(key, *frame.year_before)
    score = scores.score_of(key.metric, now, before, minimum_n)
    year = scores.score_of(key.metric, now, a_year_before, minimum_n).previous
    return ReportScore(
        metric=key.metric,
        survey_type=key.survey_type,
        score=score if score.previous and score.previous.n else replace(score, previous=None),
        year_before=year if year and year.n else None,
        target=_target(key, frame, goals, score.value),
        weeks=tuple(_week(key, sums, *week) for week in frame.weeks),
    )


def _is_there(one: ReportScore) -> bool:
    return bool(one.score.n or (one.score.sentiments and one.score.sentiments.unknown))


def _rank(one: ReportScore) -> tuple[bool, int, str]:
    """Those that can be told come first, in the usual order of metrics."""
    return not one.score.reportable, _METRICS.index(one.metric), one.survey_type


def _week(key: SeriesKey, sums: _Sums, first: date, start: int, end: int) -> Week:
    score = scores.score_of(key.metric, sums.between(key, start, end), None, 1)
    return Week(first, score.value, score.n, score.interval)


def _target(key: SeriesKey, frame: _Frame, goals: Sequence[Target], value: float | None) -> ReportTarget | None:
    """What the series shall be at the end of the quarter: the last target in it, else the next one to come."""
    last_day = frame.quarter.moved(1).first - timedelta(days=1)
    mine = [goal for goal in goals if goal.key == key and goal.window == "quarter" and goal.due >= frame.quarter.first]
    within = [goal for goal in mine if goal.due <= last_day]
    goal = within[-1] if within else mine[0] if mine else None
    if goal is None:
        return None
    distance = None if value is None else round(value - goal.value, 4)
    return ReportTarget(goal.value, goal.due, distance, None if distance is None else distance >= 0)


def _movers(whole: Sequence[SeriesKey], keys: Sequence[SeriesKey], sums: _Sums, minimum_n: int) -> list[Mover]:
    found: list[Mover] = []
    for key in whole:
        sides = sums.sides(key)
        measure = scores.leading_measure(key.metric, *sides)
        if key.metric in _UNMOVED or min(side.get(measure, scores.NOTHING).n for side in sides) < minimum_n:
            continue
        parts: dict[str, dict[SeriesKey, Sides]] = defaultdict(dict)
        for one in keys:
            if one[:3] == key[:3] and (more := set(one.dimensions) - set(key.dimensions)):
                parts[more.pop()[0]][one] = sums.sides(one)
        moved = [one for name in parts for one in movers_of(key, measure, name, parts[name])]
        found += most_moving(moved, scores.width_of(measure))
    return found


def _voices(keys: Sequence[SeriesKey], base: tuple[tuple[str, str], ...], sums: _Sums, said: Sides) -> list[Voice]:
    by_issue: dict[str, list[Sides]] = defaultdict(list)
    for key in keys:
        if (issue := dict(key.dimensions).get("issue")) and len(key.dimensions) == len(base) + 1:
            by_issue[issue].append(sums.sides(key))
    return voices({issue: _together(sides) for issue, sides in by_issue.items()}, said)


def _together(several: Iterable[Sides]) -> Sides:
    listed = list(several)
    return scores.added(now for now, _ in listed), scores.added(before for _, before in listed)


# Recovery


async def _recovery(reader: Reader, period: Period) -> Recovery:
    """Of the detractors whose case was closed, those who rated again since, by their latest answer."""
    closed = await care.closed_detractors(reader, period)
    known = [(customer, at) for customer, at in closed if customer]
    later: dict[UUID, tuple[int, float]] = {}
    if known:
        persons = {customer for customer, _ in known}
        first = microseconds(min(at for _, at in known))
        async for block, dead in blocks.since(reader, period.workspace, first):
            _gather(later, block, dead, persons)
    latest = [(later[customer], at) for customer, at in known if customer in later]
    again = [value for (moment, value), at in latest if moment > microseconds(at)]
    return recovery_of(len(closed), len(again), sum(band_of(value) != "detractor" for value in again))


def _gather(later: dict[UUID, tuple[int, float]], block: Block, dead: Sequence[int], persons: set[UUID]) -> None:
    """Of each person the latest NPS answer in a block."""
    asked = [number for number, question in enumerate(block.questions) if question.metric == "nps"]
    rows = block.rows
    halves = np.array([person.int & 0xFFFF_FFFF_FFFF_FFFF for person in persons], dtype=np.uint64)
    wanted = np.isin(rows["person_low"], halves) & np.isin(rows["question"], asked) & (rows["removed"] == 0)
    wanted[list(dead)] = False
    some = rows[wanted]
    given = zip(ids_of(some, "person_low", "person_high"), some["at"].tolist(), some["value"].tolist(), strict=True)
    for person, at, value in given:
        if person in persons and (person not in later or later[person][0] < at):
            later[person] = (at, value)
