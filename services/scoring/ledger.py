"""What the projector remembers of a workspace between its transactions. All of it can be read again from the database:
after a failed transaction, or when another process has worked on the workspace, it is thrown away."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from services.scoring.domain.answers import Cause, Numbering, Tables
from services.scoring.domain.counting import DayRow, DaySums, Ints
from services.scoring.domain.index import AnswerIndex
from services.scoring.domain.rules import Rules
from services.scoring.domain.series import Family, SeriesKey, series_id, series_of
from services.scoring.domain.windows import windows_touched
from services.scoring.repository.days import DayKey
from services.scoring.repository.progress import Progress
from services.scoring.repository.publication import Published
from shared.contracts.score_updated import Window
from shared.telemetry import metrics

# Dimensions are open lists: beyond so many series of one roll-up further values share one series.
MOST_VALUES, OTHER = 1000, "other"
# Day rows in memory: those of the days that are being counted, not of the whole history.
_MOST_DAYS = 20_000
_MOST_PUBLISHED = 200_000
# A trickle makes blocks of a few rows; as soon as there are so many they become one, until it has so many rows.
_MERGE_FROM, _MERGED_AT_ONCE = 64, 512
SMALL_ROWS = 4096
Shown = tuple[str, Window]
"""A series (its id) in a window."""


class Due(NamedTuple):
    """Why a series has to be published in a window: `row` and `hour` are where to begin again after a crash."""

    row: int
    hour: int
    reason: Literal["feedback", "tick", "rebuild"]
    cause: Cause | None = None


@dataclass
class Book:
    """The sums of a workspace under one version of its rules."""

    workspace: str
    generation: int
    rules: Rules
    tables: Tables
    series: Numbering[SeriesKey] = field(default_factory=Numbering)
    measures: Numbering[str] = field(default_factory=Numbering)
    days: dict[DayKey, DayRow] = field(default_factory=dict)
    fresh_series: list[SeriesKey] = field(default_factory=list)
    _by_id: dict[str, SeriesKey] = field(default_factory=dict)
    _sizes: Counter[Family] = field(default_factory=Counter)
    _series_of: dict[int, dict[int, list[int]]] = field(default_factory=dict)
    _asked: dict[tuple[int, int], int] = field(default_factory=dict)

    def series_of(self, origin: int, question: int) -> list[int]:
        """Numbers of the series that answers of an origin to a question belong to."""
        of_origin = self._series_of.setdefault(origin, {})
        found = of_origin.get(question)
        if found is None:
            asked, origins = self.tables.questions.met[question], self.tables.origins.met
            keys = [
                self._admitted(key) for key in series_of(self.workspace, asked, origins[origin], self.rules.roll_ups)
            ]
            self.fresh_series += [key for key in keys if key not in self.series]
            found = of_origin[question] = [self.know(key) for key in keys]
        return found

    def series_from(self, origin: int) -> Iterable[int]:
        """Numbers of the series that answers of an origin were met in."""
        return {number for numbers in self._series_of.get(origin, {}).values() for number in numbers}

    def know(self, key: SeriesKey) -> int:
        """The number of a series."""
        if key not in self.series:
            self._by_id[series_id(key)] = key
            self._sizes[key.family] += 1
        return self.series.number(key)

    def _admitted(self, key: SeriesKey) -> SeriesKey:
        """The series itself, or that of all other values. Who was counted once is known from then on, and nobody
        leaves: what is taken back meets the series it was counted in."""
        if key in self.series or self._sizes[key.family] < MOST_VALUES or not key.dimensions:
            return key
        metrics.OVER_CAP.inc()
        return key._replace(dimensions=tuple((name, OTHER) for name, _ in key.dimensions))

    def key_of(self, identity: str) -> SeriesKey | None:
        """The series with this id, if it is known here."""
        return self._by_id.get(identity)

    def asked(self, origins: Ints, questions: Ints) -> Ints:
        """The questions as the rules see them: a survey may have another formula than its source names."""
        if not self.rules.formulas:
            return questions
        pairs, place = np.unique(np.stack([origins, questions]), axis=1, return_inverse=True)
        seen = [self._as_ruled(origin, question) for origin, question in pairs.T.tolist()]
        return np.array(seen, dtype=np.int64)[place.ravel()]

    def _as_ruled(self, origin: int, question: int) -> int:
        if question < 0:
            return question
        if (known := self._asked.get((origin, question))) is None:
            given = self.tables.questions.met[question]
            formulas = self.rules.formulas.get(self.tables.origins.met[origin].survey or "", {})
            ruled = (
                given
                if given.metric == "sentiment" or given.metric == "response_rate"
                else given.scored_by(formulas.get(given.metric))
            )
            known = self._asked[origin, question] = self.tables.questions.number(ruled)
        return known

    def day_key(self, sums: DaySums) -> DayKey:
        """Where sums of a day are stored."""
        return DayKey(series_id(self.series.met[sums.series]), sums.day, self.measures.met[sums.measure])

    def keep_days(self, rows: Mapping[DayKey, DayRow]) -> None:
        """Remember day rows as they are stored now; the ones that were not touched for longest are forgotten."""
        for key, row in rows.items():
            self.days.pop(key, None)
            self.days[key] = row
        for key in list(self.days)[: max(0, len(self.days) - _MOST_DAYS)]:
            del self.days[key]


@dataclass
class Ledger:
    """A workspace between two passes. `book` is what is published, `draft` what will be under the rules to come."""

    workspace: str
    progress: Progress
    book: Book
    draft: Book | None = None
    index: AnswerIndex = field(default_factory=AnswerIndex)
    published: dict[Shown, Published | None] = field(default_factory=dict)
    due: dict[Shown, Due] = field(default_factory=dict)
    stale: bool = True
    """Sums of other generations may be left."""
    small: list[tuple[int, int]] = field(default_factory=list)
    """(first row, rows) of small blocks at the end that follow each other."""

    @property
    def tables(self) -> Tables:
        """Numbers of origins and questions, whatever the rules."""
        return self.book.tables

    # Blocks

    def placed(self, first_row: int, rows: int) -> None:
        """A block has got its place."""
        follows = self.small and sum(self.small[-1]) == first_row
        if rows >= SMALL_ROWS:
            self.small = []
        else:
            self.small = [*(self.small if follows else []), (first_row, rows)]

    def to_merge(self) -> list[tuple[int, int]]:
        """Small blocks that are worth merging: enough of them, and nothing in them waits to be published."""
        if self.draft is not None:
            return []  # a draft goes on from the end of a block
        published = [one for one in self.small if sum(one) <= self.progress.published_row]
        return published[:_MERGED_AT_ONCE] if len(published) >= _MERGE_FROM else []

    # Publication

    def touch(self, series: str, hour: int, now: int, due: Due) -> None:
        """A series has changed in an hour: publish it in every window that shows it while the hour `now` runs."""
        for window in windows_touched(hour, self.book.rules.grid.bounds(now)):
            self.due.setdefault((series, window), due)

    def first_due(self, interval_seconds: float) -> float | None:
        """When the next series may be published, by the monotonic clock; None when nothing is due."""
        times = (self._may_go_at(one, interval_seconds) for one in self.due)
        return min(times, default=None)

    def may_go(self, interval_seconds: float, limit: int) -> list[Shown]:
        """What may be published now: the least time since its last publication has passed."""
        now = time.monotonic()
        known = (one for one in self.due if one in self.published)
        ready = (one for one in known if self._may_go_at(one, interval_seconds) <= now)
        return [one for one, _ in zip(ready, range(limit), strict=False)]

    def _may_go_at(self, one: Shown, interval_seconds: float) -> float:
        last = self.published.get(one)
        return 0.0 if last is None else last.at + interval_seconds

    def keep_published(self, published: Mapping[Shown, Published | None]) -> None:
        """Remember what was published last."""
        self.published |= published
        if len(self.published) > _MOST_PUBLISHED:
            self.published = {one: last for one, last in self.published.items() if one in self.due}

    def settled(self, done: Iterable[Shown]) -> None:
        """These are published."""
        for one in done:
            del self.due[one]

    def restart_at(self) -> tuple[int, int]:
        """(row, hour) from which a fresh process finds all that is due here."""
        rows = min((due.row for due in self.due.values()), default=self.progress.next_row)
        hours = min((due.hour for due in self.due.values()), default=self.progress.hour)
        return min(rows, self.progress.next_row), min(hours, self.progress.hour)
