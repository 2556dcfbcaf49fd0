"""Words, numbers and dates of a page in one language."""

import json
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from services.scoring.domain.report import Mover, QuarterReport, ReportScore
from shared.contracts.score_updated import PreviousWindow

Language = Literal["en", "tr", "fa"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
Comparison = Literal["none", "few", "unsure", "chance", "real"]

_PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
# Language → (of thousands, of decimals).
_SEPARATORS: dict[Language, tuple[str, str]] = {"en": (",", "."), "tr": (".", ","), "fa": ("٬", "٫")}
# How many decimals a value of a metric is told by; the others are whole numbers.
_DECIMALS = {"mean": 2, "top_two": 1}
_MOST_DECIMALS = 4
_REAL = 0.05
# Embeddings, overrides and isolates: one that closes an isolate would let a name leave its <bdi>.
_DIRECTING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@lru_cache
def words(language: Language) -> dict[str, Any]:
    """All texts of a language."""
    return cast("dict[str, Any]", json.loads((Path(__file__).parent / "words" / f"{language}.json").read_text("utf-8")))


class Wording:
    """Says things in one language. Whatever is inserted into a text is escaped; numbers and names keep their own
    direction."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._words = words(language)
        self.direction: str = self._words["direction"]

    @property
    def is_rtl(self) -> bool:
        """Whether text runs from right to left."""
        return self.direction == "rtl"

    def text(self, path: str, **values: Any) -> Markup:
        """A text by its dotted path, with values put in. Raises KeyError for one that does not exist."""
        found: Any = self._words
        for part in path.split("."):
            found = found[part]
        return Markup(found).format(**values)  # noqa: S704 - the texts are ours, the values are escaped

    def word(self, kind: str, name: str) -> Markup:
        """A word of a closed list; of an open one the word itself, isolated."""
        known = self._words[kind].get(name)
        return self.name(name) if known is None else Markup(known)  # noqa: S704 - the texts are ours

    def name(self, text: str) -> Markup:
        """What somebody wrote, with a direction of its own."""
        return Markup("<bdi>{}</bdi>").format(undirected(text))

    # Numbers

    def plain(self, value: float, decimals: int = 0, *, signed: bool = False) -> str:
        """A number as text; rounded away to nothing it has no sign."""
        thousands, point = _SEPARATORS[self.language]
        digits = f"{abs(value):,.{decimals}f}".translate(str.maketrans(",.", thousands + point))
        is_zero = not round(abs(value), decimals)
        sign = "" if is_zero else "−" if value < 0 else "+" if signed else ""
        return sign + (digits.translate(_PERSIAN) if self.language == "fa" else digits)

    def number(self, value: float, decimals: int = 0, *, signed: bool = False) -> Markup:
        """A number that keeps its sign on its left, whatever the direction."""
        return _left_to_right(self.plain(value, decimals, signed=signed))

    def percent(self, value: float, decimals: int = 0, *, signed: bool = False) -> Markup:
        """A share, with the sign where the language has it."""
        return _left_to_right(self._percent(self.plain(value, decimals, signed=signed)))

    def _percent(self, text: str) -> str:
        digits = text.lstrip("+−")
        sign = text.removesuffix(digits)
        return sign + (f"%{digits}" if self.language == "tr" else f"{digits}{'٪' if self.language == 'fa' else '%'}")

    def value(self, formula: str, value: float) -> Markup:
        """A score: a share in percent, a mean with decimals, anything else a whole number."""
        digits = self.plain(value, _DECIMALS.get(formula, 0))
        return _left_to_right(self._percent(digits) if formula == "top_two" else digits)

    def points(self, formula: str, value: float, *, signed: bool = False) -> Markup:
        """A difference of two scores, with so many decimals that what is there does not look like nothing."""
        decimals = _DECIMALS.get(formula, 0)
        while value and not round(abs(value), decimals) and decimals < _MOST_DECIMALS:
            decimals += 1
        return self.number(value, decimals, signed=signed)

    def axis(self, formula: str, value: float) -> str:
        """A score beside an axis."""
        digits = self.plain(value, 1 if formula == "mean" else 0)
        return self._percent(digits) if formula == "top_two" else digits

    def duration(self, seconds: float) -> Markup:
        """About how long, in the two units that matter."""
        for unit, name, small, small_name in (
            (_DAY, "d", _HOUR, "h"),
            (_HOUR, "h", _MINUTE, "min"),
            (_MINUTE, "min", 1, "s"),
        ):
            if seconds >= unit:
                whole, rest = divmod(round(seconds / small) * small, unit)
                parts = [(whole, name), (rest // small, small_name)]
                return Markup(" ").join(self._unit(count, unit_name) for count, unit_name in parts if count)
        return self._unit(round(seconds), "s")

    def _unit(self, count: float, name: str) -> Markup:
        return Markup("{}&nbsp;{}").format(self.number(count), self._words["units"][name])

    # Dates

    def day(self, day: date) -> Markup:
        """A date in full."""
        digits = (self._digits(day.day), self._words["months"][day.month - 1], self._digits(day.year))
        return Markup("<bdi>{} {} {}</bdi>").format(*digits)

    def short_day(self, day: date) -> str:
        """Day and month, beside an axis."""
        return f"{self._digits(day.day)} {self._words['short_months'][day.month - 1]}"

    def _digits(self, number: int) -> str:
        return str(number).translate(_PERSIAN) if self.language == "fa" else str(number)

    # Sentences

    def quarter(self, report: QuarterReport) -> Markup:
        """Which quarter."""
        year, number = report.quarter.split("-Q")
        return self.text("quarter", number=self._words["quarters"][int(number) - 1], year=self._digits(int(year)))

    def period(self, report: QuarterReport) -> Markup:
        """From when to when, and whether it is over."""
        days = {
            "start": self.day_of(report.start, report),
            "end": self.day_of(report.end - timedelta(seconds=1), report),
        }
        return (
            self.text("period.over", **days)
            if report.is_over
            else self.text("period.running", **days, as_of=self.until(report))
        )

    def until(self, report: QuarterReport) -> Markup:
        """The day of the last answers that are in it."""
        return self.day_of(report.as_of - timedelta(seconds=1), report)

    def day_of(self, moment: datetime, report: QuarterReport) -> Markup:
        """The day of a moment by the calendar of the report."""
        return self.day(moment.astimezone(ZoneInfo(report.time_zone)).date())

    def score_name(self, one: ReportScore | Mover) -> Markup:
        """A metric and what it was asked about."""
        return self.text(f"score_names.{one.survey_type}", metric=self.word("metrics", one.metric))

    def summary(self, one: ReportScore) -> Markup:
        """One honest sentence about a score."""
        score, name = one.score, self.score_name(one)
        if not score.n:
            unheard = score.sentiments is not None and score.sentiments.unknown
            return self.text("summary.unheard" if unheard else "summary.none", name=name)
        if not score.reportable or score.value is None or score.interval is None:
            return self.text("summary.few", name=name, n=self.number(score.n), minimum=self.number(score.minimum_n))
        now = {"name": name, "value": self.value(score.formula, score.value), "interval": self.interval(one)}
        before, compared = score.previous, self.comparison(one, score.previous)
        if before is None or before.change is None:
            return self.text("summary.alone", **now)
        if compared == "few":
            return self.text("summary.few_before", **now, n=self.number(before.n))
        if compared == "real":
            direction = "up" if before.change > 0 else "down"
            return self.text(f"summary.{direction}", **now, change=self.points(score.formula, abs(before.change)))
        change = self.points(score.formula, before.change, signed=True)
        return self.text("summary.same" if compared == "chance" else "summary.unsure", **now, change=change)

    def comparison(self, one: ReportScore, before: PreviousWindow | None) -> Comparison:
        """What can be said of a change. Where too few answered then, nothing: it would tell what their score was."""
        if before is None or before.change is None:
            return "none"
        if before.n < one.score.minimum_n:
            return "few"
        if before.p_value is None:
            return "unsure"
        return "real" if before.p_value < _REAL else "chance"

    def interval(self, one: ReportScore) -> Markup:
        """From … to …"""
        interval = one.score.interval
        if interval is None:
            return Markup("")
        formula = one.score.formula
        return self.text("range", low=self.value(formula, interval.low), high=self.value(formula, interval.high))

    def moved(self, one: Mover) -> Markup:
        """Why a part moved a score: by its own change, or because its share changed."""
        if not one.n or not one.previous_n:
            return self.text("moved.gone" if one.previous_n else "moved.new")
        by_itself = abs(one.rate) >= abs(one.mix)
        better = "better" if one.points > 0 else "worse"
        return self.text(f"moved.{'rate' if by_itself else 'mix'}_{better}")


def undirected(text: str) -> str:
    """A name without characters that change the direction of what stands around it."""
    return text.translate(_DIRECTING)


def _left_to_right(text: str) -> Markup:
    return Markup('<bdi dir="ltr">{}</bdi>').format(escape(text))
