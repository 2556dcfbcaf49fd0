"""Looks at all series of a workspace every hour and raises, keeps and ends alerts.

Its own step of the projector's transaction: an alert, its event and the hour that was looked at are kept together.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.scoring.domain import alerts, scores
from services.scoring.domain.alerts import BASE_DAYS, WEEKS_BACK, Change, Look
from services.scoring.domain.drivers import Part, contributions
from services.scoring.domain.scores import Score, Segments, Tally
from services.scoring.domain.series import SeriesKey, series_id
from services.scoring.domain.windows import HOURS_A_DAY, Span, cut, spans_between
from services.scoring.ledger import Ledger
from services.scoring.repository import alerts as kept
from services.scoring.repository import publication, reading, targets
from services.scoring.repository.alerts import Alert
from services.scoring.repository.targets import Target
from shared.contracts.envelope import Event, started_here
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.contracts.score_updated import Window
from shared.core.ids import name_id
from shared.db.unit_of_work import UnitOfWork

_SERIES_AT_ONCE = 2000
_CONTRIBUTORS, _LEAST_PARTS = 3, 2
# The window whose page shows an alert's series.
_SHOWN_IN: Window = "7d"


async def look(uow: UnitOfWork, ledger: Ledger, hour: int, minimum_n: int, rule_version: str) -> None:
    """Look once in each hour; `hour` is the running one."""
    if ledger.progress.looked >= hour:
        return
    book, end = ledger.book, hour + 1
    keys = {series_id(key): key for key in await publication.all_series(uow, ledger.workspace, book.generation)}
    looks = [one async for one in _looks(uow, ledger, list(keys.values()), end)]
    watch = _Watch(keys, looks, book.rules.grid.as_of(hour), rule_version)
    active = await kept.active(uow, ledger.workspace)
    standing = {(alert.name, alert.kind) for alert in active}
    fresh = [watch.changed(change) for change in alerts.changes(looks, minimum_n)]
    over = [alert for alert in active if alert.kind in ("drop", "rise") and watch.is_over(alert)]
    if ledger.progress.looked // HOURS_A_DAY < (today := hour // HOURS_A_DAY):
        # That nobody complains of something is no reason for an alert.
        heard = sorted(one for one, key in keys.items() if "issue" not in dict(key.dimensions))
        silent = await _silent(uow, ledger, heard, today - 1)
        fresh += [watch.silence(series, count, usual) for series, (count, usual) in silent.items()]
        over += [alert for alert in active if alert.kind == "silence" and alert.series not in silent]
    lost, regained = await _targets(uow, ledger, watch, hour, active)
    fresh, over = [*fresh, *lost], [*over, *regained]
    for alert in fresh:
        if (alert.name, alert.kind) not in standing:
            await kept.raised(uow, ledger.workspace, alert)
            uow.publish(watch.event(ledger.workspace, alert, "raised"))
    if over:
        await kept.ended(uow, ledger.workspace, [alert.id for alert in over], watch.moment)
        for alert in over:
            uow.publish(watch.event(ledger.workspace, alert, "ended"))
    ledger.progress = ledger.progress._replace(looked=hour)


async def _looks(uow: UnitOfWork, ledger: Ledger, keys: Sequence[SeriesKey], end: int) -> AsyncIterator[Look]:
    edges = alerts.edges(end)
    for first in range(0, len(keys), _SERIES_AT_ONCE):
        some = keys[first : first + _SERIES_AT_ONCE]
        sums = await _sums(uow, ledger, some, spans_between(edges))
        for key in some:
            segments = sums[key]
            measure = scores.leading_measure(key.metric, scores.added(segments.sums.values()))

            def total(start: int, stop: int, segments: Segments = segments, measure: str = measure) -> Tally:
                wanted = range(edges.index(start), edges.index(stop))
                return scores.window_sums(segments, wanted).get(measure, Tally())

            yield alerts.look_at(series_id(key), measure, end, total)


async def _sums(
    uow: UnitOfWork, ledger: Ledger, keys: Sequence[SeriesKey], spans: Sequence[Span]
) -> dict[SeriesKey, Segments]:
    book = ledger.book
    one = book.rules.one_per_person
    return await reading.sums(uow, ledger.workspace, book.generation, keys, spans, one_per_person=one)


async def _silent(uow: UnitOfWork, ledger: Ledger, series: Sequence[str], day: int) -> dict[str, tuple[int, list[int]]]:
    """Series that were silent on a day that is over → (answers, those of the same weekday in the weeks before)."""
    days = [day - 7 * back for back in range(WEEKS_BACK + 1)]
    counts = await kept.counts_on(uow, ledger.workspace, ledger.book.generation, series, days)
    found = {}
    for one in series:
        count, *usual = (counts.get((one, day), 0) for day in days)
        if alerts.is_silent(count, usual):
            found[one] = (count, usual)
    return found


async def _targets(
    uow: UnitOfWork, ledger: Ledger, watch: "_Watch", hour: int, active: Sequence[Alert]
) -> tuple[list[Alert], list[Alert]]:
    """Targets that were met and are lost for sure, and lost ones that are over: met again, or not wanted any more."""
    book = ledger.book
    coming = await targets.coming(uow, ledger.workspace, book.rules.grid.day_at(hour), watch.series)
    windows = cut(book.rules.grid, hour)
    keys = list({goal.key: None for goal in coming.values()})
    sums = await _sums(uow, ledger, keys, windows.spans()) if keys else {}
    lost, missed, met = [], set(), []
    for (series, window), goal in coming.items():
        score = scores.score_of(goal.key.metric, scores.window_sums(sums[goal.key], windows.segments(window)), None)
        if score.value is not None and score.value >= goal.value:
            met.append((goal, True))
            continue
        missed.add(goal.key.in_window(window).name())
        if goal.met and score.interval is not None and score.interval.high < goal.value:
            lost.append(watch.target_lost(series, goal, score))
            met.append((goal, False))
    if met:
        await targets.told(uow, ledger.workspace, met)
    return lost, [alert for alert in active if alert.kind == "target_lost" and alert.name not in missed]


class _Watch:
    """What one look makes of what it found."""

    def __init__(self, keys: Mapping[str, SeriesKey], looks: Sequence[Look], moment: datetime, version: str) -> None:
        self.moment = moment
        self._keys = keys
        self._looks = {look.series: look for look in looks}
        self._version = version

    def changed(self, change: Change) -> Alert:
        """An alert for a change."""
        before = scores.score_by(change.measure, change.base, None, 1)
        now = scores.score_by(change.measure, change.recent, None, 1)
        evidence = {
            "value": now.value,
            "n": now.n,
            "interval": now.interval and now.interval.model_dump(),
            "previous_value": before.value,
            "previous_n": before.n,
            "p_value": round(change.p_value, 6),
            "days": change.days,
            "previous_days": BASE_DAYS,
            "contributors": list(self._contributors(change)),
        }
        against = {"measure": change.measure, "days": change.days, "base": [*map(str, change.base)]}
        return self._alert(change.series, change.kind, evidence, against)

    def silence(self, series: str, count: int, usual: Sequence[int]) -> Alert:
        """An alert for a day far below what is usual."""
        evidence = {"n": count, "days": 1, "previous_n": round(sum(usual) / len(usual)), "previous_days": 1}
        return self._alert(series, "silence", evidence, None)

    def target_lost(self, series: str, goal: Target, score: Score) -> Alert:
        """An alert for a target that was met."""
        evidence = {
            "value": score.value,
            "n": score.n,
            "interval": score.interval and score.interval.model_dump(),
            "target": goal.value,
        }
        return self._alert(series, "target_lost", evidence, None, goal.window)

    @property
    def series(self) -> Collection[str]:
        """All series that are looked at."""
        return self._keys.keys()

    def is_over(self, alert: Alert) -> bool:
        """Whether a change is over, or its series gone."""
        against, look = alert.held_against, self._looks.get(alert.series)
        if look is None or against is None or look.measure != against["measure"]:
            return True
        base = Tally(*map(int, against["base"]))
        kind: alerts.Kind = "drop" if alert.kind == "drop" else "rise"
        return alerts.has_ended(kind, look.measure, look.recent[against["days"]], base)

    def event(self, workspace: str, alert: Alert, state: str) -> Event[ScoreAlertedV1]:
        """The event of an alert; raised and ended it has an id of its own each."""
        data = ScoreAlertedV1.model_validate(
            {
                **alert.evidence,
                "alert_id": alert.id,
                "kind": alert.kind,
                "state": state,
                "as_of": self.moment,
                "rule_version": self._version,
            }
        )
        return started_here(workspace, data, correlation_id=alert.id, event_id=name_id("alert", alert.id.hex, state))

    def _alert(
        self,
        series: str,
        kind: str,
        evidence: dict[str, Any],
        against: Mapping[str, Any] | None,
        window: Window = _SHOWN_IN,
    ) -> Alert:
        shown = self._keys[series].in_window(window)
        identity = name_id("alert", series, window, kind, self.moment.isoformat())
        evidence = {"series": shown.model_dump(), **evidence}
        return Alert(UUID(identity.hex), series, shown.name(), kind, self.moment, None, evidence, against)

    def _contributors(self, change: Change) -> Iterator[dict[str, Any]]:
        """The sub-series that did most of it: those with one dimension more, dimension by dimension."""
        key = self._keys[change.series]
        found: list[tuple[float, dict[str, str]]] = []
        for siblings in self._sub_series(key, change).values():
            before = {one.series: _part(change.measure, one.base[change.days]) for one in siblings}
            now = {one.series: _part(change.measure, one.recent[change.days]) for one in siblings}
            if sum(part.n > 0 for part in now.values()) < _LEAST_PARTS:
                continue  # one part is all of it and explains nothing
            for series, moved in contributions(before, now).items():
                found.append((round(moved.points, 2), dict(self._keys[series].dimensions)))
        same_way = [one for one in found if (one[0] < 0) == (change.kind == "drop") and one[0]]
        for points, dimensions in sorted(same_way, key=lambda one: -abs(one[0]))[:_CONTRIBUTORS]:
            yield {"dimensions": dimensions, "points": points}

    def _sub_series(self, key: SeriesKey, change: Change) -> dict[str, list[Look]]:
        mine, found = set(key.dimensions), dict[str, list[Look]]()
        for other in self._keys.values():
            more = set(other.dimensions) - mine
            if other[:3] == key[:3] and mine <= set(other.dimensions) and len(more) == 1:
                look = self._looks[series_id(other)]
                if look.measure == change.measure:
                    found.setdefault(more.pop()[0], []).append(look)
        return found


def _part(measure: str, tally: Tally) -> Part:
    value = scores.value_of(measure, tally)
    return Part(0, 0.0) if value is None else Part(tally.n, value)
