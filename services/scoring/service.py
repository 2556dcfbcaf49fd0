"""Use cases of scoring: take answers in, count and publish, read."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from services.scoring.domain import scores
from services.scoring.domain.answers import Block, Cause
from services.scoring.domain.history import Line, days_asked
from services.scoring.domain.rules import Rules
from services.scoring.domain.scores import RULE_VERSION, Score
from services.scoring.domain.series import SeriesKey, series_id, series_name
from services.scoring.domain.windows import HOURS_A_DAY, WINDOWS, Cut, cut
from services.scoring.ledger import Due, Ledger, Shown
from services.scoring.projection import (
    change_rules,
    count,
    forget_stale,
    go_on_with_draft,
    merge_small,
    open_ledger,
    turn_hour,
)
from services.scoring.repository import alerts, blocks, progress, publication, reading, repeats, targets
from services.scoring.repository.alerts import Alert
from services.scoring.repository.common import database_now
from services.scoring.repository.publication import Published
from services.scoring.repository.targets import Target
from services.scoring.watch import look
from shared.contracts.envelope import Event, started_here
from shared.contracts.feedback_received import Formula
from shared.contracts.score_updated import ScoreUpdatedV1, Window
from shared.core.ids import name_id
from shared.db.database import Database, Reader
from shared.db.unit_of_work import UnitOfWork

Now = Callable[[Reader | UnitOfWork], Awaitable[datetime]]
# A transaction of the projector counts about this many rows, and publishes at most so many scores.
PROJECT_ROWS = 100_000
# While there is so much to count, the past is caught up with: scores on the way to the present go out more seldom.
MANY_ROWS, CATCHING_UP = 5_000, 5
PUBLISH_SCORES = 200
# Combinations of dimension values that are remembered of a workspace: they are open lists, memory is not.
MOST_ORIGINS = 200_000
# A page that must leave out most series stops looking after so many rounds and hands out a cursor to go on by.
_LIST_ROUNDS = 10
Cursor = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ListedScore:
    """A series in a window with its score now."""

    key: SeriesKey
    window: Window
    score: Score


@dataclass(frozen=True, slots=True)
class ScorePage:
    """A page of scores as of one moment; `following` is where the next page begins, None at the end."""

    as_of: datetime
    rule_version: str
    items: list[ListedScore]
    following: Cursor | None


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which scores are wanted; None means any. `by`: exactly these dimensions are set."""

    metric: str | None = None
    survey_type: str | None = None
    windows: tuple[Window, ...] = WINDOWS
    dimensions: Mapping[str, str] | None = None
    by: tuple[str, ...] | None = None
    reportable: bool | None = None


@dataclass(frozen=True, slots=True)
class ScoreHistory:
    """One series by day."""

    formula: Formula
    minimum_n: int
    rule_version: str
    points: list[tuple[date, Score]]


class ScoringService:
    """Scoring on one database. `now` is the clock that decides which hour runs; the database's own but in tests."""

    def __init__(self, database: Database, *, minimum_n: int, interval_seconds: float, now: Now = database_now) -> None:
        self.minimum_n = minimum_n
        self._database = database
        self._interval_seconds = interval_seconds
        self._now = now
        self._ledgers: dict[str, Ledger] = {}

    # What comes in

    async def take(self, blocks_in: Sequence[Block], uow: UnitOfWork) -> None:
        """Store blocks of answers, to be counted soon."""
        if blocks_in:
            await blocks.store(uow, blocks_in)

    # What is counted and goes out

    async def waiting(self) -> set[str]:
        """Workspaces in which there is something to do."""
        async with self._database.glance() as reader:
            found = await progress.waiting(reader, await self._now(reader))
        first = {name: ledger.first_due(self._interval_seconds) for name, ledger in self._ledgers.items()}
        return found | {name for name, moment in first.items() if moment is not None and moment <= time.monotonic()}

    async def uncounted(self) -> int:
        """Answers that are stored and wait to be counted, over all workspaces."""
        async with self._database.glance() as reader:
            return await progress.uncounted(reader)

    async def project(self, workspace: str) -> bool:
        """Count what has come, move the windows, publish what may go; True when there is more to do at once."""
        try:
            async with self._database.unit_of_work() as uow:
                return await self._project(workspace, uow)
        except BaseException:
            self._ledgers.pop(workspace, None)  # it may know more than the database does
            raise

    async def _project(self, workspace: str, uow: UnitOfWork) -> bool:
        now = await self._now(uow)
        ledger = await self._ledger(workspace, now, uow)
        fresh = await blocks.fresh(uow, workspace, PROJECT_ROWS)
        if fresh:
            await count(uow, ledger, fresh, ledger.book.rules.grid.hour_of(now))
        await go_on_with_draft(uow, ledger, lambda grid: grid.hour_of(now))
        hour = ledger.book.rules.grid.hour_of(now)
        await turn_hour(uow, ledger, hour)
        rows = sum(len(one.block.rows) for one in fresh)
        interval = self._interval_seconds * (CATCHING_UP if rows >= MANY_ROWS else 1)
        await self._see_targets(uow, ledger)
        published = await self._publish(uow, ledger, hour, interval)
        if rows < MANY_ROWS:  # who is catching up has not seen the last days yet: to look now would find them missing
            version = rule_version(ledger.progress.ruled.version)
            await look(uow, ledger, hour, ledger.book.rules.minimum_n or self.minimum_n, version)
        await merge_small(uow, ledger)
        await forget_stale(uow, ledger)
        ledger.progress = await progress.save(uow, workspace, ledger.progress, *ledger.restart_at())
        if len(ledger.tables.origins.met) > MOST_ORIGINS:
            del self._ledgers[workspace]  # it is opened again with those that are met from now on
        return published == PUBLISH_SCORES or rows >= PROJECT_ROWS or ledger.draft is not None or ledger.stale

    async def _ledger(self, workspace: str, now: datetime, uow: UnitOfWork) -> Ledger:
        """What is remembered of a workspace, which is locked from here on."""
        stands, wanted = await progress.lock(uow, workspace)
        if stands is None:
            await progress.begin(uow, workspace, wanted, wanted.rules.grid.hour_of(now))
            return await self._ledger(workspace, now, uow)
        ledger = self._ledgers.get(workspace)
        if ledger is None or ledger.progress.passes != stands.passes:
            hour = stands.ruled.rules.grid.hour_of(now)
            ledger = self._ledgers[workspace] = await open_ledger(uow, workspace, stands, hour)
        await change_rules(uow, ledger, wanted)
        return ledger

    async def _see_targets(self, uow: UnitOfWork, ledger: Ledger) -> None:
        """What has got a target is published with it. No row tells of it: after a crash all is looked at."""
        due = Due(-1, ledger.progress.hour, "rebuild")
        for series, window in await targets.taken_fresh(uow, ledger.workspace):
            ledger.due.setdefault((series.hex, window), due)

    async def _publish(self, uow: UnitOfWork, ledger: Ledger, hour: int, interval_seconds: float) -> int:
        unknown = [one for one in ledger.due if one not in ledger.published][:PUBLISH_SCORES]
        if unknown:
            known = await publication.published(uow, ledger.workspace, unknown)
            ledger.keep_published({one: known.get(one) for one in unknown})
        going = ledger.may_go(interval_seconds, PUBLISH_SCORES)
        if not going:
            return 0
        book, windows = ledger.book, cut(ledger.book.rules.grid, hour)
        keys = {series: book.key_of(series) for series, _ in going}
        wanted = list(filter(None, keys.values()))
        one_each, spans = book.rules.one_per_person, windows.spans()
        sums = await reading.sums(uow, ledger.workspace, book.generation, wanted, spans, one_per_person=one_each)
        today = book.rules.grid.day_at(hour)
        goals = await targets.coming(uow, ledger.workspace, today, list(keys))
        sent: dict[Shown, Published] = {}
        for one in going:
            key, due, last = keys[one[0]], ledger.due[one], ledger.published[one]
            if key is None:
                continue  # the rules do not have it any more
            score = self._score(key, one[1], sums[key], windows, book.rules)
            if last is None and due.reason == "rebuild" and not score.n and not (score.previous and score.previous.n):
                continue  # it never was anything to speak of
            data = _updated(
                key, one[1], score, book.rules.grid.as_of(hour), due, ledger.progress.ruled.version, goals.get(one)
            )
            content = data.model_dump(mode="json", exclude_none=True, exclude={"as_of", "cause"})
            if last is None or content != last.content:
                number = 1 if last is None else last.publication + 1
                uow.publish(_event(key, one[1], number, data, due.cause))
                sent[one] = Published(time.monotonic(), number, content)
        if sent:
            await publication.settle(uow, ledger.workspace, sent)
        ledger.keep_published(sent)
        ledger.settled(going)
        return len(going)

    def next_due(self) -> float | None:
        """Seconds until something that is held back may be published; None when nothing is."""
        times = (ledger.first_due(self._interval_seconds) for ledger in self._ledgers.values())
        first = min((moment for moment in times if moment is not None), default=None)
        return None if first is None else first - time.monotonic()

    def forget(self) -> None:
        """Another process projects from now on."""
        self._ledgers.clear()

    def _score(self, key: SeriesKey, window: Window, segments: scores.Segments, windows: Cut, rules: Rules) -> Score:
        current = scores.window_sums(segments, windows.segments(window))
        previous = scores.window_sums(segments, windows.segments(window, previous=True))
        return scores.score_of(key.metric, current, previous, rules.minimum_n or self.minimum_n)

    # What is asked

    async def page(self, workspace: str, wanted: ScoreFilter, after: Cursor | None, limit: int) -> ScorePage:
        """Scores as they are now, in the order of names; a page may hold fewer than `limit` and still go on. Raises
        InvalidInput for a set of dimensions that no scores are kept by."""
        found: list[ListedScore] = []
        async with self._database.reader(workspace) as reader:
            standing = await progress.standing(reader, workspace)
            rules = standing.ruled.rules
            if wanted.by is not None:
                rules.refuse_unkept("query.by", wanted.by)
            windows = cut(rules.grid, rules.grid.hour_of(await self._now(reader)))
            as_of = rules.grid.start_of(windows.edges[-1])
            version = rule_version(standing.ruled.version)
            for _ in range(_LIST_ROUNDS):
                listed = await self._listed(reader, workspace, wanted, after, limit, standing, windows)
                for item in listed:
                    after = (series_name(item.key), item.window)
                    if wanted.reportable in (None, item.score.reportable):
                        found.append(item)
                    if len(found) == limit:
                        return ScorePage(as_of, version, found, after)
                if len(listed) < limit:
                    return ScorePage(as_of, version, found, None)
        return ScorePage(as_of, version, found, after)

    async def _listed(
        self,
        reader: Reader,
        workspace: str,
        wanted: ScoreFilter,
        after: Cursor | None,
        limit: int,
        standing: progress.Standing,
        windows: Cut,
    ) -> list[ListedScore]:
        rows = await reading.list_series(
            reader,
            workspace,
            standing.generation,
            metric=wanted.metric,
            survey_type=wanted.survey_type,
            dimensions=wanted.dimensions or {},
            by=wanted.by,
            windows=wanted.windows,
            after=after or ("", ""),
            limit=limit,
        )
        keys = list({key: None for key, _ in rows})
        rules, spans = standing.ruled.rules, windows.spans()
        one = rules.one_per_person
        sums = (
            await reading.sums(reader, workspace, standing.generation, keys, spans, one_per_person=one) if rows else {}
        )
        return [ListedScore(key, window, self._score(key, window, sums[key], windows, rules)) for key, window in rows]

    async def history(
        self, key: SeriesKey, first: date | None, last: date | None, window: Window | None
    ) -> ScoreHistory:
        """One point for each day of the workspace's calendar from `first` to `last` (without: the last 90 days): the
        score of the window that ends with it, or of the day alone. Raises InvalidInput for dimensions that no scores
        are kept by, and for a period that cannot be answered."""
        async with self._database.reader(key.workspace) as reader:
            standing = await progress.standing(reader, key.workspace)
            rules = standing.ruled.rules
            rules.refuse_unkept("query", tuple(name for name, _ in key.dimensions))
            today = rules.grid.day_at(rules.grid.hour_of(await self._now(reader)))
            asked = days_asked(first, last, today)
            spans = [rules.grid.day_bounds(day, window) for day in asked]
            low, high = min(span.start for span in spans), spans[-1].end
            rows = await reading.by_hour(
                reader, standing.generation, key, low // HOURS_A_DAY, (high - 1) // HOURS_A_DAY
            )
            repeated = (
                await repeats.of_series(reader, key.workspace, standing.generation, series_id(key), low, high - 1)
                if rules.one_per_person
                else []
            )
        line = Line(low // HOURS_A_DAY, (high - 1) // HOURS_A_DAY, rows, repeated)
        measure = scores.leading_measure(key.metric, line.totals())
        minimum_n = rules.minimum_n or self.minimum_n
        points = [(day, line.score(measure, span, minimum_n)) for day, span in zip(asked, spans, strict=True)]
        return ScoreHistory(scores.formula_of(measure), minimum_n, rule_version(standing.ruled.version), points)

    async def alerts(
        self, workspace: str, *, only_active: bool, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Alert]:
        """Alerts, the latest first."""
        async with self._database.reader(workspace) as reader:
            return await alerts.listed(reader, workspace, only_active=only_active, before=before, limit=limit)

    # Rules

    async def standing(self, workspace: str) -> progress.Standing:
        """The rules that count, and those to come."""
        async with self._database.reader(workspace) as reader:
            return await progress.standing(reader, workspace)

    async def change_rules(self, workspace: str, rules: Rules) -> progress.Standing:
        """Want other rules; where they change sums, these are counted anew, and take the place of the old in one
        step."""
        async with self._database.unit_of_work(workspace) as uow:
            if (await progress.wanted(uow, workspace)).rules != rules:
                await progress.want(uow, workspace, rules)
        return await self.standing(workspace)


def rule_version(version: int) -> str:
    """How events and answers name the rules that a score was made by."""
    return f"{RULE_VERSION}.{version}"


def _updated(
    key: SeriesKey, window: Window, score: Score, moment: datetime, due: Due, version: int, goal: Target | None
) -> ScoreUpdatedV1:
    return ScoreUpdatedV1.model_validate(
        {
            "series": key.in_window(window),
            "formula": score.formula,
            "as_of": moment,
            "cause": due.reason,
            "value": score.value,
            "n": score.n,
            "promoters": score.promoters,
            "passives": score.passives,
            "detractors": score.detractors,
            "sentiments": score.sentiments,
            "invitations": score.invitations,
            "interval": score.interval,
            "minimum_n": score.minimum_n,
            "reportable": score.reportable,
            "previous": score.previous,
            "target": goal and goal.value,
            "distance": None if goal is None or score.value is None else round(score.value - goal.value, 4),
            "rule_version": rule_version(version),
        }
    )


def _event(
    key: SeriesKey, window: Window, number: int, data: ScoreUpdatedV1, cause: Cause | None
) -> Event[ScoreUpdatedV1]:
    """The n-th publication of a series always has the same id."""
    event_id = name_id("score", series_id(key), window, str(number))
    correlation_id = cause.correlation_id if cause else name_id("tick", key.workspace, data.as_of.isoformat())
    started = started_here(key.workspace, data, correlation_id=correlation_id, event_id=event_id)
    if cause is None:
        return started
    return replace(started, causation_id=cause.event_id, traceparent=cause.traceparent)
