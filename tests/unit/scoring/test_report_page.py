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

HOSTILE = '<img src=x onerror="alert(1)">&"\'{{7*7}}{n}'
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
    score_by("sentiment", Tally(420, 120, 210), Tally(400, 140, 160), 30).with_uncounted(lambda _: 85),
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
    rule_version="score-3.0",
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
    cases=Cases(240, 198, 31, 220, 201, 412.0, (Named("late delivery", 80),), (Named("refund", 40),)),
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


def told(report: QuarterReport) -> str:
    """The words of the English page, with plain spaces."""
    return re.sub(r"\s+", " ", read(render(report, "en")).text)


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
    text = told(EMPTY)
    for sentence in (*words("en")["empty"].values(), words("en")["obstacles"]["none"]):
        assert sentence in text
    full = told(FULL)
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
    assert '<p class="written">&lt;img' in page


def test_a_name_cannot_turn_what_stands_around_it() -> None:
    """An isolate that a name closes is that of its own <bdi>: what it opens then runs on after it."""
    name, plain = "a\u2069\u202e\u2067b\u200cc\u200f", "ab\u200cc\u200f"
    report = replace(FULL, workspace=name, department=name, movers=(replace(FULL.movers[0], name=name),))
    page = render(report, "fa")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    assert page.count(f"<bdi>{plain}</bdi>") == 3
    assert f" · {plain} · " in page


def test_what_a_manager_wrote_keeps_its_lines() -> None:
    page = render(FULL, "en")
    assert '<p class="written">Two seats\nwere empty.</p>' in page
    assert re.search(r"\.written \{[^}]*white-space: pre-wrap;[^}]*unicode-bidi: plaintext", page)
    assert "Last changed on 20 September 2026" in read(page).text


def test_a_score_of_too_few_answers_is_not_told() -> None:
    few = replace(NPS, score=score_by("nps", Tally(11, 9, 0), None, 30))
    text = told(replace(EMPTY, scores=(few,)))
    assert "82" not in text
    assert "<svg" not in render(replace(EMPTY, scores=(few,)), "en")
    assert "too few to say, n = 11. A score is shown from n = 30 on." in text
    assert "Too few to show a score: n = 11, and it takes 30." in text
    assert "The least number is 30." in text


def test_nor_that_of_a_part_of_a_score() -> None:
    few = replace(FULL.movers[0], value=87.6, n=29, previous_value=54.3, previous_n=30)
    text = told(replace(FULL, movers=(few,)))
    assert "before 54 (n = 30), now – (n = 29)" in text
    assert "88" not in text


def test_nor_that_of_an_earlier_time() -> None:
    """The change and the score together would tell it."""
    one = replace(NPS, score=score_by("nps", Tally(800, 430, 150), Tally(29, 1, 27), 30))
    one = replace(one, year_before=PreviousWindow(value=-96.0, n=12, change=131.0, p_value=0.0001))
    text = told(replace(EMPTY, scores=(one,)))
    assert "The quarter before had too few answers to compare with, n = 29." in text
    assert "too few answers then, n = 29" in text
    assert "too few answers then, n = 12" in text
    assert not re.search("12[45]|131|more than chance|real change", text)


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
    assert said in told(replace(EMPTY, scores=(one,)))


def test_a_change_that_cannot_be_tested_is_not_called_chance() -> None:
    score = replace(NPS.score, previous=PreviousWindow(value=30.0, n=400, change=5.0, p_value=None))
    text = told(replace(EMPTY, scores=(replace(NPS, score=score),)))
    assert "+5 against the quarter before. Whether that is more than chance cannot be tested." in text
    assert "within what chance brings" not in text


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "120 of 400 delivered invitations answered; 9 bounced, 5 not sent."),
        ("tr", "Ulaşan 400 davetten 120 tanesi yanıtlandı; 9 davet ulaşmadı, 5 davet gönderilmedi."),
        ("fa", "از ۴۰۰ دعوت رسیده به ۱۲۰ دعوت پاسخ داده شد؛ ۹ دعوت نرسید و ۵ دعوت فرستاده نشد."),
    ],
)
def test_a_response_rate_tells_its_invitations_and_claims_no_change(language: Language, said: str) -> None:
    beside = {"invitation_bounced": 9, "invitation_suppressed": 5}
    score = score_by("response_rate", Tally(400, 120), Tally(400, 200), 30).with_uncounted(lambda one: beside[one])
    assert score.invitations is not None
    assert score.invitations.model_dump() == {"delivered": 400, "completed": 120, "bounced": 9, "suppressed": 5}
    one = ReportScore("response_rate", "transactional", score, None, None, ())
    text = re.sub(r"\s+", " ", read(render(replace(EMPTY, scores=(one,)), language)).text)
    assert said in text
    if language == "en":
        assert "cannot be tested" in text
        assert "within what chance brings" not in text


def test_sentiment_that_could_not_be_told_is_not_silence() -> None:
    one = replace(SENTIMENT, score=score_by("sentiment", Tally(), None, 30).with_uncounted(lambda _: 4))
    text = told(replace(EMPTY, scores=(one,)))
    assert "it could not be told from any message" in text
    assert "nobody answered" not in text


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (ReportTarget(40, date(2026, 9, 30), -5.0, False), "40 by 30 September 2026 5 points short"),
        (ReportTarget(40, date(2026, 9, 30), -0.3, False), "0.3 points short"),
        (ReportTarget(33, date(2026, 9, 30), 2.0, True), "33 by 30 September 2026 reached (+2)"),
    ],
)
def test_a_target_says_how_far_it_is(target: ReportTarget, said: str) -> None:
    text = told(replace(EMPTY, scores=(replace(NPS, target=target),)))
    assert said in text


@pytest.mark.parametrize(
    ("mover", "why"),
    [
        (FULL.movers[0], "it is new in this quarter"),
        (replace(FULL.movers[0], n=0, value=None, previous_n=40, previous_value=70), "nobody answered about it"),
        (replace(FULL.movers[0], previous_n=280), "its own score fell"),
        (
            replace(FULL.movers[0], previous_n=280, points=1.4, rate=0.2, mix=1.2),
            "its share of the answers changed, for",
        ),
    ],
)
def test_a_part_says_why_it_moved_the_score(mover: Mover, why: str) -> None:
    text = told(replace(FULL, movers=(mover,)))
    assert next(one for one in words("en")["moved"].values() if one in text).startswith(why)


@pytest.mark.parametrize(
    ("report", "path"),
    [
        (replace(FULL, voice=()), "voice.none"),
        (replace(FULL, cases=Cases(1, 0, 1, 0, 0, None, (), ())), "cases.unanswered"),
        (replace(FULL, cases=replace(FULL.cases, causes=())), "cases.none_named"),
        (replace(FULL, recovery=recovery_of(9, 0, 0)), "recovery.silent"),
        (replace(FULL, recovery=recovery_of(9, 3, 0)), "recovery.nobody"),
        (replace(FULL, scores=(replace(NPS, weeks=NPS.weeks[:1]),)), "chart.none"),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_has_not_happened_yet_is_said(report: QuarterReport, path: str, language: Language) -> None:
    section, name = path.split(".")
    assert words(language)[section][name] in read(render(report, language)).text
    whole = replace(FULL, scores=(NPS,))
    assert words(language)[section][name] not in read(render(whole, language)).text


def test_an_issue_says_how_often_and_how_it_sounds() -> None:
    text = told(FULL)
    assert "Delivery180 (36%) 10 / 40 / 120 not told: 10 +12.3 pp real" in text
    assert "91% (201 of 220)" in text
    assert '<span style="flex-basis: 35.6%"></span>' in render(FULL, "fa")


def test_the_running_quarter_says_how_far_it_is() -> None:
    running = replace(EMPTY, as_of=datetime(2026, 9, 20, 21, 30, tzinfo=UTC), time_zone="Europe/Istanbul")
    assert "until 21 September 2026" in told(running)
    over = told(EMPTY)
    assert "so far" not in over
    assert "Third quarter of 2026 · 1 July 2026 to 30 September 2026 · final" in over


@pytest.mark.parametrize(
    ("language", "number", "share", "mean", "duration"),
    [
        ("en", "−1,234.5", "+12.3%", "5.45", "1 h 1 min"),
        ("tr", "−1.234,5", "+%12,3", "5,45", "1 sa 1 dk"),
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
    assert say.points("nps", -0.04).striptags() == say.plain(-0.04, 2)  # a change that is real is not called 0
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


def test_a_week_between_two_gaps_shows_its_interval() -> None:
    alone = replace(NPS, weeks=(week(0, 40), week(1, 0), week(2, 50), week(3, 60)))
    drawn = weekly_chart(alone, Wording("en"))
    assert drawn.count('class="spread"') == 1
    assert drawn.count('class="band"') == 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 900.0), (34.0, 34.5), (-100.0, 100.0)])
def test_an_axis_has_a_handful_of_labels_that_differ(low: float, high: float) -> None:
    weeks = tuple(Week(FIRST + timedelta(days=7 * n), value, 50, None) for n, value in enumerate((low, high)))
    drawn = weekly_chart(replace(NPS, weeks=weeks, target=None), Wording("en"))
    labels = re.findall(r'text-anchor="end"[^>]*>([^<]+)<', drawn)
    assert 2 <= len(labels) <= 7
    assert len(set(labels)) == len(labels)
