"""From sums to a score: value, interval, whether it may be reported, and whether it changed for real."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import NamedTuple, cast

from services.scoring.domain import intervals
from services.scoring.domain.answers import BOUNCED, MICRO, RESPONSE, SENTIMENT, SUPPRESSED, UNHEARD, KeptMetric
from shared.contracts.feedback_received import DEFAULT_FORMULAS, Formula
from shared.contracts.score_updated import Interval, Invitations, PreviousWindow, Sentiments

# Changes whenever a formula or a rule here does: scores of two versions are not to be compared. The version of the
# workspace's own rules follows it in every event.
RULE_VERSION = "score-3"
LEVEL = 0.95
MINIMUM_N = 30


class Tally(NamedTuple):
    """Exact sums over answers of one measure; `total` in millionths, `squares` in millionths of millionths."""

    n: int = 0
    top: int = 0
    bottom: int = 0
    total: int = 0
    squares: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def minus(self, other: "Tally") -> "Tally":
        """This without the other."""
        return Tally(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def mean(self) -> float:
        """The mean value; n must not be 0."""
        return self.total / (self.n * MICRO)

    @property
    def variance(self) -> float:
        """The sample variance, from exact integers, so that nothing cancels; n must be at least 2."""
        return (self.n * self.squares - self.total**2) / (self.n * (self.n - 1) * MICRO**2)


# Measures whose score is the share at the top less the share at the bottom.
_NET = ("nps", SENTIMENT)
# Measures whose score is the share at the top, in percent.
_SHARES = ("top_two", RESPONSE)
# Metrics that no survey asks for have one measure each.
_ONE_MEASURE: dict[KeptMetric, str] = {"sentiment": SENTIMENT, "response_rate": RESPONSE}
# Formulas as contracts name them.
_FORMULAS: dict[str, Formula] = {SENTIMENT: "nps", RESPONSE: "top_two"}
NOTHING = Tally()
Measured = Mapping[str, Tally]
"""Measure → sums: answers on different scales, or by different formulas, are never added together."""


@dataclass(frozen=True)
class Segments:
    """Sums between neighbouring edges, by the number of the segment; and of answers that a later one of the same person
    stands in for, by the segments of both (repeats.py)."""

    sums: Mapping[int, Measured]
    repeats: Mapping[tuple[int, int], Measured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """One score. Numbers are rounded to four decimals, p-values to six."""

    formula: Formula
    value: float | None
    n: int
    promoters: int | None
    passives: int | None
    detractors: int | None
    interval: Interval | None
    minimum_n: int
    reportable: bool
    previous: PreviousWindow | None
    sentiments: Sentiments | None = None
    invitations: Invitations | None = None

    def with_uncounted(self, count: Callable[[str], int]) -> "Score":
        """With what stands beside the n of a score: messages whose sentiment is not known, invitations that nobody
        got. `count` tells the n of a measure."""
        if self.sentiments is not None:
            return replace(self, sentiments=self.sentiments.model_copy(update={"unknown": count(UNHEARD)}))
        if self.invitations is not None:
            apart = {"bounced": count(BOUNCED), "suppressed": count(SUPPRESSED)}
            return replace(self, invitations=self.invitations.model_copy(update=apart))
        return self


def window_sums(segments: Segments, wanted: range) -> dict[str, Tally]:
    """Sums of a window over some segments, per measure."""
    total = added(segments.sums.get(segment, {}) for segment in wanted)
    for (earlier, later), measured in segments.repeats.items():
        if earlier in wanted and later in wanted:
            total |= {measure: total[measure].minus(tally) for measure, tally in measured.items() if measure in total}
    return total


def added(parts: Iterable[Measured]) -> dict[str, Tally]:
    """Sums of several parts, per measure."""

    def add(total: dict[str, Tally], part: Measured) -> dict[str, Tally]:
        for measure, tally in part.items():
            total[measure] = total.get(measure, NOTHING).plus(tally)
        return total

    return reduce(add, parts, {})


def leading_measure(metric: KeptMetric, *candidates: Measured) -> str:
    """The measure a series shows: the one with most answers, in the first of `candidates` that has any. Equal counts
    go to the metric's usual formula, then by name, so that everybody picks the same."""
    if metric in _ONE_MEASURE:
        return _ONE_MEASURE[metric]
    usual = DEFAULT_FORMULAS[metric]
    for measured in candidates:
        counted = [(-tally.n, formula_of(measure) != usual, measure) for measure, tally in measured.items() if tally.n]
        if counted:
            return min(counted)[2]
    return usual


def formula_of(measure: str) -> Formula:
    """The formula of a measure."""
    return _FORMULAS.get(measure) or cast(Formula, measure.partition(":")[0])


def score_of(metric: KeptMetric, current: Measured, previous: Measured | None, minimum_n: int = MINIMUM_N) -> Score:
    """The score of one window; `previous` None leaves the comparison out."""
    measure = leading_measure(metric, current, previous or {})
    score = score_by(measure, current.get(measure, NOTHING), _previous_tally(previous, measure), minimum_n)
    return score.with_uncounted(lambda measure: current.get(measure, NOTHING).n)


def _previous_tally(previous: Measured | None, measure: str) -> Tally | None:
    return None if previous is None else previous.get(measure, NOTHING)


def score_by(measure: str, tally: Tally, before: Tally | None, minimum_n: int) -> Score:
    """The score of answers that have one measure."""
    is_nps, middle = measure == "nps", tally.n - tally.top - tally.bottom
    return Score(
        formula=formula_of(measure),
        value=_rounded(value_of(measure, tally)),
        n=tally.n,
        promoters=tally.top if is_nps else None,
        passives=middle if is_nps else None,
        detractors=tally.bottom if is_nps else None,
        interval=_interval(measure, tally),
        minimum_n=minimum_n,
        reportable=tally.n >= minimum_n,
        previous=None if before is None else _comparison(measure, tally, before),
        sentiments=Sentiments(positive=tally.top, neutral=middle, negative=tally.bottom, unknown=0)
        if measure == SENTIMENT
        else None,
        invitations=Invitations(delivered=tally.n, completed=tally.top, bounced=0, suppressed=0)
        if measure == RESPONSE
        else None,
    )


def value_of(measure: str, tally: Tally) -> float | None:
    """The score of sums; None without answers."""
    if tally.n == 0:
        return None
    if measure in _NET:
        return 100 * (tally.top - tally.bottom) / tally.n
    return 100 * tally.top / tally.n if measure in _SHARES else tally.mean


def width_of(measure: str) -> float:
    """How wide the values of a measure can lie apart."""
    if measure in _NET:
        return 200
    if measure in _SHARES:
        return 100
    low, high = (float(part) for part in measure.split(":")[1:])
    return high - low


def _interval(measure: str, tally: Tally) -> Interval | None:
    if tally.n == 0:
        return None
    if measure in _NET:
        centre, error = intervals.net_promoter_adjusted(tally.n, tally.top, tally.bottom)
        return _as_interval(intervals.normal_interval(centre, error, LEVEL, -100, 100))
    if measure in _SHARES:
        centre, error = intervals.share_adjusted(tally.n, tally.top, LEVEL)
        return _as_interval(intervals.normal_interval(centre, error, LEVEL, 0, 100))
    bounds = None if tally.n < 2 else intervals.mean_interval(tally.n, tally.mean, tally.variance, LEVEL)
    if bounds is None:
        return None
    scale_min, scale_max = (float(part) for part in measure.split(":")[1:])
    low, high = max(scale_min, bounds[0]), min(scale_max, bounds[1])
    return Interval(low=round(low, 4), high=round(high, 4), level=LEVEL, method="t")


def _as_interval(bounds: tuple[float, float]) -> Interval:
    return Interval(low=round(bounds[0], 4), high=round(bounds[1], 4), level=LEVEL, method="adjusted_wald")


def _comparison(measure: str, tally: Tally, before: Tally) -> PreviousWindow:
    value, earlier = value_of(measure, tally), value_of(measure, before)
    if value is None or earlier is None:
        return PreviousWindow(value=_rounded(earlier), n=before.n)
    p_value = change_p_value(measure, tally, before)
    return PreviousWindow(
        value=_rounded(earlier),
        n=before.n,
        change=_rounded(value - earlier),
        p_value=None if p_value is None else min(1.0, round(p_value, 6)),
    )


def change_p_value(measure: str, tally: Tally, before: Tally) -> float | None:
    """Two-sided p-value of the difference of two scores; None where the spread is unknown, and for response rates:
    invitations of the last days are still being answered, so a recent rate is lower without any change."""
    if measure == RESPONSE:
        return None
    if measure in _NET:
        return intervals.z_test(
            *intervals.net_promoter_adjusted(tally.n, tally.top, tally.bottom),
            *intervals.net_promoter_adjusted(before.n, before.top, before.bottom),
        )
    if measure in _SHARES:
        return intervals.z_test(
            *intervals.share_adjusted(tally.n, tally.top, LEVEL),
            *intervals.share_adjusted(before.n, before.top, LEVEL),
        )
    if tally.n < 2 or before.n < 2:
        return None
    return intervals.welch_test(tally.n, tally.mean, tally.variance, before.n, before.mean, before.variance)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
