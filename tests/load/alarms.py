"""`make alarms`: how often an alert is false, and how often a real drop is caught, by the rules that scoring uses.

Weeks of answers are drawn and looked at every hour by services/scoring/domain/alerts.py itself. Without a change fewer
than 5 % of weeks may raise any alert; of drops by 15 points at 400 answers a week 90 % have to be caught within two
weeks. Exit code 1 where they are not.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.scoring.domain import alerts
from services.scoring.domain.alerts import BASE_DAYS, RECENT_DAYS, WEEKS_BACK
from services.scoring.domain.scores import MINIMUM_N, Tally
from services.scoring.domain.windows import HOURS_A_DAY

A_WEEK, DROP, PROMOTERS, DETRACTORS = 400, 15, 0.5, 0.2
HOURS_A_WEEK = 7 * HOURS_A_DAY
PAST_HOURS = (BASE_DAYS + max(RECENT_DAYS)) * HOURS_A_DAY
MOST_FALSE, LEAST_CAUGHT = 0.05, 0.90
# Answers come in working hours mostly, and fewer at the weekend; days differ by more than chance (shape of a gamma).
_BY_HOUR = np.array([1] * 7 + [5] * 14 + [2] * 3, dtype=float)
_BY_WEEKDAY = np.array([1.2, 1.2, 1.1, 1.1, 1.1, 0.7, 0.6])
_DAYS_VARY = 30.0


class Weeks:
    """A series over its past and some weeks more, as running sums by the hour; the drop comes after the past."""

    def __init__(self, dice: np.random.Generator, weeks: int, drop: float = 0.0) -> None:
        days = PAST_HOURS // HOURS_A_DAY + 7 * weeks
        a_day = np.resize(_BY_WEEKDAY / _BY_WEEKDAY.sum(), days) * A_WEEK * dice.gamma(_DAYS_VARY, 1 / _DAYS_VARY, days)
        n = dice.poisson(np.outer(a_day, _BY_HOUR / _BY_HOUR.sum()).ravel())
        fallen = np.where(np.arange(len(n)) >= PAST_HOURS, drop / 200, 0.0)
        promoters = dice.binomial(n, PROMOTERS - fallen)
        detractors = dice.binomial(n - promoters, (DETRACTORS + fallen) / (1 - PROMOTERS + fallen))
        self.by_day = n.reshape(-1, HOURS_A_DAY).sum(axis=1)
        running = np.cumsum(np.stack([n, promoters, detractors], axis=1), axis=0)
        self._sums: NDArray[np.int64] = np.vstack([[0, 0, 0], running])

    def alerts_at(self, end: int) -> bool:
        """Whether a look at this hour raises anything."""

        def total(start: int, stop: int) -> Tally:
            return Tally(*(self._sums[stop] - self._sums[start]).tolist())

        return bool(alerts.changes([alerts.look_at("", "nps", end, total)], MINIMUM_N)) or self._silent(end)

    def _silent(self, end: int) -> bool:
        day, hour = divmod(end, HOURS_A_DAY)
        usual = [int(self.by_day[day - 1 - 7 * back]) for back in range(1, WEEKS_BACK + 1)]
        return hour == 0 and alerts.is_silent(int(self.by_day[day - 1]), usual)


def quiet_weeks(dice: np.random.Generator, series: int, weeks: int) -> Iterator[bool]:
    """Of weeks without a change, whether any alert was raised."""
    for _ in range(series):
        drawn = Weeks(dice, weeks)
        for week in range(weeks):
            begin = PAST_HOURS + week * HOURS_A_WEEK
            yield any(drawn.alerts_at(end) for end in range(begin + 1, begin + HOURS_A_WEEK + 1))


def caught_drops(dice: np.random.Generator, series: int) -> Iterator[float | None]:
    """Days until a drop was noticed; None where two weeks were not enough."""
    for _ in range(series):
        drawn = Weeks(dice, 2, DROP)
        looks = range(PAST_HOURS + 1, PAST_HOURS + 2 * HOURS_A_WEEK + 1)
        yield next(((end - PAST_HOURS) / HOURS_A_DAY for end in looks if drawn.alerts_at(end)), None)


def main() -> int:
    """Draw, look, print; exit status 0 when both rates are what they have to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=150, help="series of each kind (150)")
    parser.add_argument("--weeks", type=int, default=8, help="weeks without a change a series (8)")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    dice = np.random.default_rng(chosen.seed)
    quiet = list(quiet_weeks(dice, chosen.series, chosen.weeks))
    caught = list(caught_drops(dice, chosen.series))
    days = sorted(one for one in caught if one is not None)
    false, found = sum(quiet) / len(quiet), len(days) / len(caught)
    sys.stdout.write(
        f"seed {chosen.seed}; {A_WEEK} answers a week, looked at every hour\n"
        f"no change:          {100 * false:5.1f} % of {len(quiet)} weeks raised an alert "
        f"(fewer than {100 * MOST_FALSE:g})\n"
        f"drop by {DROP} points:  {100 * found:5.1f} % of {len(caught)} caught within two weeks (at least "
        f"{100 * LEAST_CAUGHT:g}); half of them after {days[len(days) // 2] if days else float('nan'):.1f} days\n"
    )
    return 0 if false < MOST_FALSE and found >= LEAST_CAUGHT else 1


if __name__ == "__main__":
    sys.exit(main())
