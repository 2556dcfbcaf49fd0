"""The page of the quarterly report: three languages, honest about what it does not know, and safe to open."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any, get_args

import pytest

from services.scoring.domain.answers import KeptMetric
from services.scoring.domain.report import (
    Cases,
    Mover,
    Named,
    Obstacles,
    QuarterReport,
    Recovery,
    ReportScore,
    ReportTarget,
    Voice,
    Week,
    recovery_of,
)
from services.scoring.domain.scores import Tally, score_by
from services.scoring.page import render
from services.scoring.page.chart import weekly_chart
from services.scoring.page.wording import LANGUAGES, Language, Wording, words
from shared.contracts.score_updated import PreviousWindow
from shared.contracts.tags import ISSUES

HOSTILE = '<img src=x onerror="alert(1)">\u202e&"\'{{7*7}}{n}'
VOID = {"meta", "br", "img", "link", "hr", "line", "circle", "polyline", "polygon"}
FIRST = date(2026, 7, 1)


def week(n: int, value_n: int) -> Week:
    score = score_by("nps", Tally(value_n, value_n // 2, value_n // 5), None, 1)
    return Week(FIRST + timedelta(days=7 * n), score.value, score.n, score.interval)


NPS = ReportScore(
    "nps",
    "transactional",
    score_by("nps", Tally(800, 430, 150), Tally(700, 330, 190), 30),
    PreviousWindow(value=34.0, n=600, change=1.0, p_value=0.7),
    ReportTarget(40, date(2026, 9, 30), -5.0, False),
    tuple(week(n, 0 if n == 2 else 20 + 10 * n) for n in range(6)),
)
SENTIMENT = ReportScore(
    "sentiment",
    "transactional",
    score_by("sentiment", Tally(420, 120, 210), Tally(400, 140, 160), 30).with_unheard(85),
    None,
    None,
    (),
)
EMPTY = QuarterReport(
    workspace="acme",
    department=None,
    quarter="2026-Q3",
    start=datetime(2026, 7, 1, tzinfo=UTC),
    end=datetime(2026, 10, 1, tzinfo=UTC),
    as_of=datetime(2026, 10, 1, tzinfo=UTC),
    time_zone="UTC",
    rule_version="score-2.0",
    scores=(),
    movers=(),
    messages=0,
    previous_messages=0,
    voice=(),
    cases=Cases(0, 0, 0, 0, 0, None, (), ()),
    recovery=Recovery(0, 0, 0, None, None),
    obstacles=None,
)
FULL = replace(
    EMPTY,
    department="support",
    scores=(NPS, SENTIMENT),
    movers=(Mover("nps", "transactional", "touchpoint", "delivery", 12.3, 300, None, 0, -9.44, -8.8, -0.64),),
    messages=505,
    previous_messages=480,
    voice=(Voice("delivery", 180, 35.6, 10, 40, 120, 10, 120, 12.3, True),),
    cases=Cases(240, 198, 31, 220, 201, 412.0, (Named("late delivery", 80),), ()),
    recovery=recovery_of(64, 31, 18),
    obstacles=Obstacles("Two seats\nwere empty.", datetime(2026, 9, 20, tzinfo=UTC)),
)


def paths(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from paths(value, f"{path}.{key}")
    else:
        yield f"{path}:{len(node) if isinstance(node, list) else sorted(re.findall(r'{(.+?)}', node))}"


class Tags(HTMLParser):
    """Checks that tags close what they open, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_with_the_same_values(language: Language) -> None:
    assert sorted(paths(words(language))) == sorted(paths(words("en")))
    assert set(words(language)["issues"]) == set(ISSUES)
    assert set(words(language)["metrics"]) == set(get_args(KeptMetric))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("report", [EMPTY, FULL], ids=["empty", "full"])
def test_a_page_is_whole_and_needs_nothing_else(language: Language, report: QuarterReport) -> None:
    page = render(report, language)
    tags = read(page)
    assert not {"script", "link", "img", "iframe", "object"} & tags.seen
    assert not re.search(r"https?://|url\(|@import", page)
    assert f'<html lang="{language}" dir="{"rtl" if language == "fa" else "ltr"}">' in page
    assert "default-src 'none'" in page
    assert not re.search(r"\{[a-z_]+\}|None(?! was)|Undefined", tags.text)


def test_every_empty_part_says_so() -> None:
    text = read(render(EMPTY, "en")).text
    for sentence in (*words("en")["empty"].values(), words("en")["obstacles"]["none"]):
        assert sentence in text
    full = read(render(FULL, "en")).text
    assert not [sentence for sentence in words("en")["empty"].values() if sentence in full]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_people_wrote_is_escaped_and_stands_alone(language: Language) -> None:
    report = replace(
        FULL,
        workspace=HOSTILE,
        department=HOSTILE,
        movers=(replace(FULL.movers[0], name=HOSTILE, dimension="product"),),
        cases=replace(FULL.cases, causes=(Named(HOSTILE, 1),), actions=(Named(HOSTILE, 1),)),
        obstacles=Obstacles(HOSTILE, datetime(2026, 9, 20, tzinfo=UTC)),
    )
    page = render(report, language)
    assert "<img" not in page
    tags = read(page)
    assert tags.text.count(HOSTILE) == 7  # title and heading both name the department
    assert "49" not in tags.text
    assert page.count("<bdi>&lt;img") == 5
    assert '<p class="written" dir="auto">&lt;img' in page


def test_a_score_of_too_few_answers_is_not_told() -> None:
    few = replace(NPS, score=score_by("nps", Tally(11, 9, 0), None, 30), target=None)
    text = read(render(replace(EMPTY, scores=(few,)), "en")).text
    assert "82" not in text
    assert "too few answers to say. There are 11; from 30 on" in text
    assert "Too few answers to show a score: 11 of at least 30" in text


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (Tally(700, 330, 190), "15 points higher than in the quarter before. That is more than chance."),
        (Tally(700, 500, 100), "22 points lower than in the quarter before. That is more than chance."),
        (Tally(700, 376, 140), "The change against the quarter before (+1) is within what chance brings."),
        (None, "There is no earlier quarter to hold it against."),
    ],
)
def test_a_change_is_called_what_it_is(before: Tally | None, said: str) -> None:
    one = replace(NPS, score=score_by("nps", Tally(800, 430, 150), before, 30))
    assert said in read(render(replace(EMPTY, scores=(one,)), "en")).text


def test_the_running_quarter_says_how_far_it_is() -> None:
    running = replace(EMPTY, as_of=datetime(2026, 9, 20, 21, 30, tzinfo=UTC), time_zone="Europe/Istanbul")
    assert "until 21 September 2026" in read(render(running, "en")).text
    assert "so far" not in read(render(EMPTY, "en")).text


@pytest.mark.parametrize(
    ("language", "number", "share", "mean", "duration"),
    [
        ("en", "−1,234.5", "+12.3%", "5.45", "1 h 1 min"),
        ("tr", "−1.234,5", "%+12,3", "5,45", "1 sa 1 dk"),
        ("fa", "−۱٬۲۳۴٫۵", "+۱۲٫۳٪", "۵٫۴۵", "۱ ساعت ۱ دقیقه"),
    ],
)
def test_numbers_are_those_of_the_language(
    language: Language, number: str, share: str, mean: str, duration: str
) -> None:
    say = Wording(language)
    assert say.plain(-1234.5, 1) == number
    assert say.percent(12.3, 1, signed=True).striptags() == share
    assert say.value("mean", 5.45).striptags() == mean
    assert re.sub(r"\s", " ", say.duration(3660).striptags()) == duration
    assert (say.plain(-0.04, 1), say.plain(0.0, signed=True)) == (say.plain(0, 1), say.plain(0))
    assert str(say.number(-5)).startswith('<bdi dir="ltr">−')


def test_time_runs_with_the_language_and_a_week_without_answers_is_a_gap() -> None:
    en, fa = (weekly_chart(NPS, Wording(language)) for language in ("en", "fa"))
    drawn = re.findall(r'class="line" points="(.+?)"', en)
    lines = [[float(x) for x in re.findall(r"([\d.]+),", points)] for points in drawn]
    assert [len(line) for line in lines] == [2, 3]
    assert lines[0] + lines[1] == sorted(lines[0] + lines[1])
    mirrored = [float(x) for x in re.findall(r'<circle class="[\w ]+" cx="([\d.]+)"', fa)]
    assert mirrored == sorted(mirrored, reverse=True)
    assert re.findall(r'<circle class="([\w ]+)"', en)[0] == "dot few"  # 20 answers
    assert weekly_chart(SENTIMENT, Wording("en")) == ""
