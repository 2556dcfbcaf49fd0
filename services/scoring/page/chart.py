"""A score week by week, drawn: the line, the interval around it, and the target."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, log10

from markupsafe import Markup

from services.scoring.domain.report import ReportScore, Week
from services.scoring.page.wording import Wording

_WIDTH, _HEIGHT = 400, 190
_TOP, _BOTTOM, _INNER, _OUTER = 14, 30, 52, 12
_LABELS = 5


@dataclass(frozen=True)
class _Frame:
    """Where things stand; in languages that run from right to left time does too."""

    low: float
    high: float
    weeks: int
    is_rtl: bool

    def x(self, week: float) -> float:
        inside = _WIDTH - _INNER - _OUTER
        along = _INNER + inside * (week + 0.5) / max(1, self.weeks)
        return round(_WIDTH - along if self.is_rtl else along, 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def weekly_chart(one: ReportScore, say: Wording) -> Markup:
    """The drawing, or nothing where fewer than two weeks have answers."""
    known = [week for week in one.weeks if week.value is not None]
    if len(known) < 2:
        return Markup("")
    low, high, step = _scale(one, known)
    frame = _Frame(low, high, len(one.weeks), say.is_rtl)
    parts = [
        *_grid(frame, one, say, step),
        *_days(frame, one.weeks, say),
        *_target(frame, one),
        *_band(frame, one.weeks),
        *_line(frame, one.weeks, one.score.minimum_n),
    ]
    title = say.text("chart.title", name=say.score_name(one)).striptags()
    told = (_told(week, one.score.formula, say) for week in known)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title><desc>{}</desc>{}</svg>'
    ).format(_WIDTH, _HEIGHT, title, title, "; ".join(told), Markup("").join(parts))


def _told(week: Week, formula: str, say: Wording) -> str:
    value, n = say.axis(formula, week.value or 0), say.plain(week.n)
    return say.text("chart.point", day=say.short_day(week.start), value=value, n=n).striptags()


def _scale(one: ReportScore, known: Sequence[Week]) -> tuple[float, float, float]:
    """(low, high, step) of the axis, round numbers around all that is drawn."""
    values = [week.value for week in known if week.value is not None]
    values += [bound for week in known if week.interval for bound in (week.interval.low, week.interval.high)]
    values += [one.target.value] if one.target else []
    low, high = min(values), max(values)
    # Not finer than the labels of the axis can tell.
    wanted = max((high - low) / _LABELS, 0.1 if one.score.formula == "mean" else 1)
    power = 10.0 ** floor(log10(wanted))
    step = next((times * power for times in (1, 2, 5) if times * power >= wanted), 10 * power)
    first, last = step * (low // step), step * -(-high // step)
    return first, last if last > first else first + step, step


def _grid(frame: _Frame, one: ReportScore, say: Wording, step: float) -> Iterator[Markup]:
    inner, outer = (_WIDTH - _INNER, _OUTER) if frame.is_rtl else (_INNER, _WIDTH - _OUTER)
    count = round((frame.high - frame.low) / step)
    for number in range(count + 1):
        value = frame.low + step * number
        y = frame.y(value)
        yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(inner, outer, y, y)
        yield Markup('<text class="axis" direction="ltr" text-anchor="{}" x="{}" y="{}">{}</text>').format(
            "start" if frame.is_rtl else "end",
            inner + (7 if frame.is_rtl else -7),
            y + 4,
            say.axis(one.score.formula, value),
        )


def _days(frame: _Frame, weeks: Sequence[Week], say: Wording) -> Iterator[Markup]:
    every = -(-len(weeks) // _LABELS)
    for place, number in enumerate(range(0, len(weeks), every)):
        # Where there is little room, every other one is left out.
        kind = "axis between" if place % 2 else "axis"
        yield Markup('<text class="{}" direction="{}" text-anchor="middle" x="{}" y="{}">{}</text>').format(
            kind, say.direction, frame.x(number), _HEIGHT - 8, say.short_day(weeks[number].start)
        )


def _target(frame: _Frame, one: ReportScore) -> Iterator[Markup]:
    if one.target is not None:
        y = frame.y(one.target.value)
        left, right = (_OUTER, _INNER) if frame.is_rtl else (_INNER, _OUTER)
        yield Markup('<line class="target" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, _WIDTH - right, y, y)


def _runs(weeks: Sequence[Week]) -> Iterator[list[tuple[int, Week]]]:
    """Weeks with a score that follow each other: a week without answers is a gap."""
    for known, run in groupby(enumerate(weeks), key=lambda pair: pair[1].value is not None):
        if known:
            yield list(run)


def _band(frame: _Frame, weeks: Sequence[Week]) -> Iterator[Markup]:
    for run in _runs(weeks):
        bounds = [(number, week.interval) for number, week in run if week.interval]
        upper = [f"{frame.x(number)},{frame.y(interval.high)}" for number, interval in bounds]
        lower = [f"{frame.x(number)},{frame.y(interval.low)}" for number, interval in reversed(bounds)]
        if len(bounds) > 1:
            yield Markup('<polygon class="band" points="{}"/>').format(" ".join(upper + lower))
        elif bounds:
            yield Markup('<polyline class="spread" points="{} {}"/>').format(upper[0], lower[0])


def _line(frame: _Frame, weeks: Sequence[Week], minimum_n: int) -> Iterator[Markup]:
    for run in _runs(weeks):
        points = [(frame.x(number), frame.y(week.value or 0), week) for number, week in run]
        yield Markup('<polyline class="line" points="{}"/>').format(" ".join(f"{x},{y}" for x, y, _ in points))
        for x, y, week in points:
            kind = "dot" if week.n >= minimum_n else "dot few"
            yield Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(kind, x, y)
