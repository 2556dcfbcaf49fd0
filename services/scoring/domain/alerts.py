"""What is worth an alert: a change that is more than noise, and a silence that is more than a quiet day.

The last 7 and the last 14 days are each held against the 56 days before them, every hour. A short window sees a large
drop soon and a longer one a small drop surely; the long past makes both sharper than two neighbouring windows would.
Looking often at overlapping windows finds more by chance than one look does, and many series more than one: the rate
of false discoveries in a look (Benjamini & Hochberg) is set so low that fewer than 5 % of weeks without any change
raise an alert. `make alarms` simulates it and prints both rates.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from services.scoring.domain.scores import Tally, change_p_value, value_of
from services.scoring.domain.significance import adjusted
from services.scoring.domain.windows import HOURS_A_DAY

RECENT_DAYS = (7, 14)
BASE_DAYS = 56
FALSE_DISCOVERIES = 0.002
# An alert of a change ends when nothing is left of it that a single test would notice at this level.
ENDED_AT = 0.1
# Silence: a day with so few answers happens by chance less often than this, and so many are usual at least.
SILENCE_ODDS = 1e-4
USUAL_AT_LEAST = 10.0
WEEKS_BACK = 8
Kind = Literal["drop", "rise"]


class Look(NamedTuple):
    """A series and measure: the recent days, by how many, and the days before them."""

    series: str
    measure: str
    recent: Mapping[int, Tally]
    base: Mapping[int, Tally]


class Change(NamedTuple):
    """A real change of a series: the last `days` days against the BASE_DAYS before; `p_value` is adjusted for all
    series that were looked at."""

    series: str
    measure: str
    kind: Kind
    days: int
    recent: Tally
    base: Tally
    p_value: float


def edges(end: int) -> list[int]:
    """The hours that the sums of a look begin and end with; `end` is the one behind the running hour."""
    ages = {0, *RECENT_DAYS, *(days + BASE_DAYS for days in RECENT_DAYS)}
    return sorted(end - HOURS_A_DAY * age for age in ages)


def look_at(series: str, measure: str, end: int, total: Callable[[int, int], Tally]) -> Look:
    """A look; `total` gives the sums from one edge to before another."""
    starts = {days: end - HOURS_A_DAY * days for days in RECENT_DAYS}
    return Look(
        series,
        measure,
        {days: total(start, end) for days, start in starts.items()},
        {days: total(start - HOURS_A_DAY * BASE_DAYS, start) for days, start in starts.items()},
    )


def changes(looks: Iterable[Look], minimum_n: int) -> list[Change]:
    """Of each series the change that is clearest, where it is real. A series of one measure must be given once."""
    candidates = [found for look in looks if (found := _clearest(look, minimum_n))]
    p_values = adjusted([change.p_value for change in candidates])
    real = (change._replace(p_value=p) for change, p in zip(candidates, p_values, strict=True))
    return [change for change in real if change.p_value < FALSE_DISCOVERIES]


def _clearest(look: Look, minimum_n: int) -> Change | None:
    found: list[Change] = []
    for days in RECENT_DAYS:
        recent, base = look.recent[days], look.base[days]
        if recent.n < minimum_n or base.n < minimum_n:
            continue
        p_value = change_p_value(look.measure, recent, base)
        now, before = value_of(look.measure, recent), value_of(look.measure, base)
        if p_value is not None and now is not None and before is not None:
            kind: Kind = "drop" if now < before else "rise"
            found.append(Change(look.series, look.measure, kind, days, recent, base, p_value))
    if not found:
        return None
    best = min(found, key=lambda change: change.p_value)
    return best._replace(p_value=min(1.0, best.p_value * len(RECENT_DAYS)))  # two looks at one series


def has_ended(kind: Kind, measure: str, recent: Tally, base: Tally) -> bool:
    """Whether a change is over: what is recent now does not differ from what was before it, or lies on the other
    side. Too few answers to tell end nothing."""
    p_value = change_p_value(measure, recent, base)
    now, before = value_of(measure, recent), value_of(measure, base)
    if p_value is None or now is None or before is None:
        return False
    return p_value > ENDED_AT or (now > before if kind == "drop" else now < before)


def is_silent(count: int, usual: Sequence[int]) -> bool:
    """Whether a day with `count` answers is far below the same weekday of the weeks before.

    Days vary more than chance alone makes them: negative binomial with the mean and variance seen (at least Poisson's).
    """
    if len(usual) < WEEKS_BACK:
        return False
    mean = sum(usual) / len(usual)
    if mean < USUAL_AT_LEAST or count >= mean:
        return False
    # A few weeks tell the mean only so well: its own error widens what a day may be.
    variance = max(mean, sum((one - mean) ** 2 for one in usual) / (len(usual) - 1)) * (1 + 1 / len(usual))
    return _at_most(count, mean, variance) < SILENCE_ODDS


def _at_most(count: int, mean: float, variance: float) -> float:
    """P(N ≤ count) of the negative binomial with this mean and variance (above the mean)."""
    size = mean * mean / (variance - mean)
    share = size / (size + mean)
    term = math.exp(size * math.log(share))
    total = term
    for one in range(1, count + 1):
        term *= (size + one - 1) / one * (1 - share)
        total += term
    return min(1.0, total)
