"""Use cases of scoring: count answers, move windows, publish, read."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from services.scoring.domain import scores
from services.scoring.domain.answers import Deltas, SeriesKey, answer_of, latest_versions, series_id, series_name
from services.scoring.domain.scores import RULE_VERSION, Score
from services.scoring.domain.windows import (
    ALL_DAYS,
    WINDOW_OF,
    as_of,
    hour_of,
    spans,
    start_of_hour,
    windows_touched,
)
from services.scoring.repository import answers, publication, reading
from services.scoring.repository.common import database_now
from services.scoring.repository.publication import Due, Settled
from shared.contracts.envelope import Event, started_here
from shared.contracts.feedback_received import FeedbackReceivedV1, Formula
from shared.contracts.score_updated import ScoreUpdatedV1, Window
from shared.core.ids import name_id
from shared.db.database import Database, Reader
from shared.db.unit_of_work import UnitOfWork

Now = Callable[[Reader | UnitOfWork], Awaitable[datetime]]
TICK = "tick"
# A tick looks at this many series in one transaction, a publication sends at most so many scores.
TICK_SERIES = 2000
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

    # What comes in

    async def count(self, events: Sequence[Event[FeedbackReceivedV1]], uow: UnitOfWork) -> None:
        """Count the answers of a batch and take back what they replace; scores that change become due.

        Raises BadRecord for an answer that no rule can score.
        """
        read = ((answer_of(event), event) for event in events)
        versions = latest_versions(pair for pair in read if not pair[0].is_void)
        if not versions:
            return
        deltas = await self._replace(versions, uow)
        buckets = deltas.buckets()
        if not buckets:
            return
        now = hour_of(await self._now(uow))
        hours = deltas.hours()
        await answers.keep_series(uow, (deltas.series[identity] for identity in hours))
        await answers.add(uow, buckets)
        await self._start_clocks({deltas.series[identity].workspace for identity in hours}, now, uow)
        await self._mark(deltas, hours, now, uow)

    async def _replace(self, versions: Sequence[tuple[Any, Event[Any]]], uow: UnitOfWork) -> Deltas:
        by_key = {answer.key: (answer, event) for answer, event in versions}
        deltas = Deltas()
        for feedback_id, workspace, replaced in await answers.keep_answers(uow, [answer for answer, _ in versions]):
            answer, event = by_key[workspace, feedback_id]
            if replaced is not None:
                deltas.add(replaced, -1, event)
            deltas.add(answer, 1, event)
        return deltas

    async def _mark(self, deltas: Deltas, hours: Mapping[str, int], now: int, uow: UnitOfWork) -> None:
        marks = [
            (deltas.series[identity].workspace, identity, days, cause.id, cause.correlation_id, cause.traceparent)
            for identity, hour in hours.items()
            for cause in (deltas.causes[identity],)
            for days in windows_touched(hour, now)
        ]
        if marks:
            await publication.mark(uow, sorted(marks, key=lambda mark: mark[:3]), self._interval_seconds)

    # The hour turns

    async def _start_clocks(self, workspaces: Iterable[str], now: int, uow: UnitOfWork) -> None:
        for workspace in await publication.start_clocks(uow, workspaces, now):
            await uow.schedule(TICK, workspace, workspace=workspace, payload={}, due_at=as_of(now))

    async def tick(self, workspace: str, payload: Mapping[str, Any], uow: UnitOfWork) -> None:
        """Make due what changed in `workspace` because hours have passed since the last tick, however many.

        Many series take several timers: `payload` is where the last one stopped.
        """
        now = payload.get("now") or hour_of(await self._now(uow))
        before = await publication.clock_hour(uow, workspace)
        if before is None or before >= now:
            await uow.schedule(TICK, workspace, workspace=workspace, payload={}, due_at=as_of(before or now))
            return
        after = UUID(payload["after"]) if "after" in payload else None
        series = await publication.series_after(uow, workspace, after, TICK_SERIES)
        cause = name_id("tick", workspace, str(now))
        await publication.mark_moved(uow, workspace, series, before, now, cause, self._interval_seconds)
        if len(series) == TICK_SERIES:
            rest = {"now": now, "after": str(series[-1])}
            await uow.schedule(TICK, workspace, workspace=workspace, payload=rest, due_at=start_of_hour(now))
        else:
            await publication.set_clock(uow, workspace, now)
            await uow.schedule(TICK, workspace, workspace=workspace, payload={}, due_at=as_of(now))

    # What goes out

    async def publish_due(self) -> int:
        """Compute and publish what is due, at most PUBLISH_SCORES at once; how many were due."""
        async with self._database.unit_of_work() as uow:
            due = await publication.take_due(uow, PUBLISH_SCORES)
            if due:
                now = hour_of(await self._now(uow))
                await publication.settle(uow, await self._publish(due, now, uow))
        return len(due)

    async def _publish(self, due: Sequence[Due], now: int, uow: UnitOfWork) -> list[Settled]:
        # Read behind the locks of `take_due`: what is committed later finds its series not due and makes it due again.
        sums = await reading.sums(uow, list({one.key: None for one in due}), spans(now))
        settled: list[Settled] = []
        for one in due:
            score = self._score(one.key, one.days, sums[one.key])
            data = _updated(one, score, as_of(now))
            content = data.model_dump(mode="json", exclude_none=True, exclude={"as_of", "cause"})
            sent = content != one.content
            if sent:
                uow.publish(_event(one, data))
            settled.append(Settled(one, sent, data.model_dump_json(exclude_none=True, exclude={"as_of", "cause"})))
        return settled

    async def seconds_to_next_due(self) -> float | None:
        """How long until something is due; None when nothing is."""
        async with self._database.glance() as reader:
            return await publication.seconds_to_next_due(reader)

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
        sums = await reading.sums(reader, list({key: None for key, _ in rows}), spans(now)) if rows else {}
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


def _updated(due: Due, score: Score, moment: datetime) -> ScoreUpdatedV1:
    return ScoreUpdatedV1.model_validate(
        {
            "series": due.key.in_window(WINDOW_OF[due.days]),
            "formula": score.formula,
            "as_of": moment,
            "cause": due.cause,
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


def _event(due: Due, data: ScoreUpdatedV1) -> Event[ScoreUpdatedV1]:
    """The n-th publication of a series always has the same id."""
    event_id = name_id("score", series_id(due.key), str(due.days), str(due.publication + 1))
    started = started_here(due.key.workspace, data, correlation_id=due.correlation_id, event_id=event_id)
    return Event(
        id=started.id,
        source=started.source,
        time=started.time,
        workspace=started.workspace,
        correlation_id=started.correlation_id,
        causation_id=due.causation_id,
        data=data,
        traceparent=due.traceparent,
    )
