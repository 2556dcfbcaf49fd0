"""Series: one metric and survey type over one set of dimension values, and which of them an answer belongs to."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from services.scoring.domain.answers import KeptMetric, Origin, Question
from shared.contracts.feedback_received import SurveyType
from shared.contracts.score_updated import Series
from shared.core.ids import name_id

Family = tuple[str, str, tuple[str, ...]]
"""Metric, survey type and names of dimensions: all series of one roll-up."""


class SeriesKey(NamedTuple):
    """A series without its window. `dimensions` are sorted by name."""

    workspace: str
    metric: KeptMetric
    survey_type: SurveyType
    dimensions: tuple[tuple[str, str], ...]

    @property
    def family(self) -> Family:
        """What it has in common with series of other values."""
        return self.metric, self.survey_type, tuple(name for name, _ in self.dimensions)

    def in_window(self, window: str) -> Series:
        """The series as contracts name it."""
        return Series.model_validate(
            {
                "metric": self.metric,
                "survey_type": self.survey_type,
                "window": window,
                "dimensions": dict(self.dimensions),
            }
        )


@lru_cache(maxsize=100_000)
def series_id(key: SeriesKey) -> str:
    """The id under which a series is stored, as 32 hexadecimal digits: the same everywhere, so nobody looks it up."""
    return name_id("series", key.workspace, series_name(key)).hex


@lru_cache(maxsize=100_000)
def series_name(key: SeriesKey) -> str:
    """`metric|survey_type|dimensions`: the contract's spelling without the window; lists go by it."""
    metric, survey_type, _, dimensions = key.in_window("7d").name().split("|")
    return f"{metric}|{survey_type}|{dimensions}"


def series_of(
    workspace: str, question: Question, origin: Origin, roll_ups: Iterable[tuple[str, ...]]
) -> list[SeriesKey]:
    """Every series that an answer to a question from `origin` belongs to: one for each set of dimensions (sorted by
    name) that it has values of. What is said of an issue stands only where the issue does: all of it is in the answer
    about the whole message."""
    given = origin.dimensions | ({"issue": question.issue} if question.issue else {})
    found = []
    for names in roll_ups:
        if given.keys() >= set(names) and (question.issue is None or "issue" in names):
            dimensions = tuple((name, given[name]) for name in names)
            found.append(SeriesKey(workspace, question.metric, origin.survey_type, dimensions))
    return found
