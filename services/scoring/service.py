"""Use cases of scoring: take answers in, count and publish, read."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from services.scoring.domain import scores
from services.scoring.domain.answers import Block, Cause
from services.scoring.domain.scores import RULE_VERSION, Score
from services.scoring.domain.series import SeriesKey, series_id, series_name
from services.scoring.domain.windows import ALL_DAYS, WINDOW_OF, as_of, hour_of, spans
from services.scoring.ledger import Due, Ledger
from services.scoring.projection import count, merge_small, open_ledger, turn_hour
from services.scoring.repository import blocks, publication, reading
from services.scoring.repository.common import database_now
from services.scoring.repository.publication import Published
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
# A page that must leave out most series stops looking after so many rounds and hands out a cursor to go on by.
_LIST_ROUNDS = 10
_EPOCH_DAY = date(1970, 1, 1)
Cursor = tuple[str, int]


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
    items: list[ListedScore]
    following: Cursor | None


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which scores are wanted; None means any. `by`: exactly these dimensions are set."""

    metric: str | None = None
    survey_type: str | None = None
    days: tuple[int, ...] = ALL_DAYS
    dimensions: Mapping[str, str] | None = None
    by: tuple[str, ...] | None = None
    reportable: bool | None = None


@dataclass(frozen=True, slots=True)
class ScoreHistory:
    """One series by UTC day."""

    formula: Formula
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
            found = await publication.waiting(reader, hour_of(await self._now(reader)))
        first = {name: ledger.first_due(self._interval_seconds) for name, ledger in self._ledgers.items()}
        return found | {name for name, moment in first.items() if moment is not None and moment <= time.monotonic()}

    async def project(self, workspace: str) -> bool:
        """Count what has come, move the windows, publish what may go; True when there is more to do at once."""
        try:
            async with self._database.unit_of_work() as uow:
                hour = hour_of(await self._now(uow))
                progress = await publication.lock(uow, workspace, hour)
                ledger = self._ledgers.get(workspace)
                if ledger is None or ledger.progress.passes != progress.passes:
                    ledger = self._ledgers[workspace] = await open_ledger(uow, workspace, progress, hour)
                fresh = await blocks.fresh(uow, workspace, PROJECT_ROWS)
                if fresh:
                    await count(uow, ledger, fresh, hour)
                await turn_hour(uow, ledger, hour)
                rows = sum(len(one.block.rows) for one in fresh)
                interval = self._interval_seconds * (CATCHING_UP if rows >= MANY_ROWS else 1)
                published = await self._publish(uow, ledger, hour, interval)
                await merge_small(uow, ledger)
                ledger.progress = await publication.save(uow, workspace, ledger.progress, *ledger.restart_at())
        except BaseException:
            self._ledgers.pop(workspace, None)  # it may know more than the database does
            raise
        return published == PUBLISH_SCORES or rows >= PROJECT_ROWS

    async def _publish(self, uow: UnitOfWork, ledger: Ledger, hour: int, interval_seconds: float) -> int:
        unknown = [one for one in ledger.due if one not in ledger.published][:PUBLISH_SCORES]
        if unknown:
            known = await publication.published(uow, ledger.workspace, unknown)
            ledger.keep_published({one: known.get(one) for one in unknown})
        going = ledger.may_go(interval_seconds, PUBLISH_SCORES)
        if not going:
            return 0
        keys = {series: ledger.key_of(series) for series, _ in going}
        sums = await reading.sums(uow, ledger.workspace, list(filter(None, keys.values())), spans(hour))
        sent: dict[tuple[str, int], Published] = {}
        for one in going:
            key, (_, days) = keys[one[0]], one
            if key is None:
                continue  # its series is gone
            last = ledger.published[one]
            data = _updated(key, days, self._score(key, days, sums[key]), as_of(hour), ledger.due[one])
            content = data.model_dump(mode="json", exclude_none=True, exclude={"as_of", "cause"})
            if last is None or content != last.content:
                number = 1 if last is None else last.publication + 1
                uow.publish(_event(key, days, number, data, ledger.due[one].cause))
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

    def _score(self, key: SeriesKey, days: int, segments: scores.Segments) -> Score:
        current = scores.window_sums(segments, days)
        previous = scores.window_sums(segments, days, previous=True)
        return scores.score_of(key.metric, current, previous, self.minimum_n)

    # What is asked

    async def page(self, workspace: str, wanted: ScoreFilter, after: Cursor | None, limit: int) -> ScorePage:
        """Scores as they are now, in the order of names; a page may hold fewer than `limit` and still go on."""
        found: list[ListedScore] = []
        async with self._database.reader(workspace) as reader:
            now = hour_of(await self._now(reader))
            for _ in range(_LIST_ROUNDS):
                listed = await self._listed(reader, workspace, wanted, after, limit, now)
                for item in listed:
                    after = (series_name(item.key), _days(item))
                    if wanted.reportable in (None, item.score.reportable):
                        found.append(item)
                    if len(found) == limit:
                        return ScorePage(as_of(now), found, after)
                if len(listed) < limit:
                    return ScorePage(as_of(now), found, None)
        return ScorePage(as_of(now), found, after)

    async def _listed(
        self, reader: Reader, workspace: str, wanted: ScoreFilter, after: Cursor | None, limit: int, now: int
    ) -> list[ListedScore]:
        rows = await reading.list_series(
            reader,
            workspace,
            metric=wanted.metric,
            survey_type=wanted.survey_type,
            dimensions=wanted.dimensions or {},
            by=wanted.by,
            days=wanted.days,
            after=after or ("", 0),
            limit=limit,
        )
        sums = await reading.sums(reader, workspace, list({key: None for key, _ in rows}), spans(now)) if rows else {}
        return [ListedScore(key, WINDOW_OF[days], self._score(key, days, sums[key])) for key, days in rows]

    async def history(self, key: SeriesKey, first: date, last: date, days: int) -> ScoreHistory:
        """One point a UTC day from `first` to `last`: the score of the `days` days that end with it."""
        async with self._database.reader(key.workspace) as reader:
            start, end = (first - _EPOCH_DAY).days, (last - _EPOCH_DAY).days
            stored = await reading.daily(reader, key, start - days + 1, end)
        measure = scores.leading_measure(key.metric, scores.added(stored.values()))
        total = scores.NOTHING
        points: list[tuple[date, Score]] = []
        for day in range(start - days + 1, end + 1):
            total = total.plus(stored.get(day, {}).get(measure, scores.NOTHING))
            total = total.minus(stored.get(day - days, {}).get(measure, scores.NOTHING))
            if day >= start:
                score = scores.score_by(measure, total, None, self.minimum_n)
                points.append((_EPOCH_DAY + timedelta(days=day), score))
        return ScoreHistory(scores.formula_of(measure), points)


def _days(item: ListedScore) -> int:
    return next(days for days, window in WINDOW_OF.items() if window == item.window)


def _updated(key: SeriesKey, days: int, score: Score, moment: datetime, due: Due) -> ScoreUpdatedV1:
    return ScoreUpdatedV1.model_validate(
        {
            "series": key.in_window(WINDOW_OF[days]),
            "formula": score.formula,
            "as_of": moment,
            "cause": "tick" if due.cause is None else "feedback",
            "value": score.value,
            "n": score.n,
            "promoters": score.promoters,
            "passives": score.passives,
            "detractors": score.detractors,
            "interval": score.interval,
            "minimum_n": score.minimum_n,
            "reportable": score.reportable,
            "previous": score.previous,
            "rule_version": RULE_VERSION,
        }
    )


def _event(key: SeriesKey, days: int, number: int, data: ScoreUpdatedV1, cause: Cause | None) -> Event[ScoreUpdatedV1]:
    """The n-th publication of a series always has the same id."""
    event_id = name_id("score", series_id(key), str(days), str(number))
    correlation_id = cause.correlation_id if cause else name_id("tick", key.workspace, data.as_of.isoformat())
    started = started_here(key.workspace, data, correlation_id=correlation_id, event_id=event_id)
    if cause is None:
        return started
    return replace(started, causation_id=cause.event_id, traceparent=cause.traceparent)
