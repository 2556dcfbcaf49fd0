"""Play files: what is refused, with which line and reason."""

import pytest

from services.notifier import playbook
from services.notifier.catalogue import Catalogue
from services.notifier.domain import Playbook
from shared.core.errors import InvalidInput

CATALOGUE = Catalogue()
GOOD = """version: 1
plays:
  - id: thanks
    on: feedback_received
    when: touchpoint is store
    max_age: 2d
    steps:
      - id: say
        after: 1h
        audience: customer
        transport: email
        template: promoter-thanks
        when: has_case
        unless: [answered, not recovered]
"""


def parse(text: str) -> Playbook:
    return playbook.parse(text, CATALOGUE, "1")


def test_the_shipped_plays_are_good() -> None:
    book = parse(playbook.DEFAULT_FILE.read_text(encoding="utf-8"))
    assert {play.trigger for play in book.plays} >= {"feedback_received", "resolved", "at_risk", "breached"}
    bands = {test.values for play in book.plays for test in play.when if test.name == "band"}
    assert bands == {("detractor",), ("passive",), ("promoter",)}


def test_a_good_file_is_read() -> None:
    [play] = parse(GOOD).plays
    [step] = play.steps
    assert (play.max_age_seconds, step.after_seconds, step.transports) == (172800, 3600, ("email",))
    assert [str(test) for test in step.unless] == ["answered", "not recovered"]


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("version: 1", "version: 2", 1, "write 1"),
        ("version: 1\n", "", 1, "'version' is missing"),
        ("plays:", "plays: []\nrest:", 3, "unknown key 'rest'"),
        ("id: thanks", "id: Thanks!", 3, "is not an id"),
        ("id: thanks", "id: thanks\n    id: twice", 4, "stands here twice"),
        ("id: thanks", "name: thanks", 3, "unknown key 'name'"),
        ("on: feedback_received", "on: full_moon", 4, "it is one of feedback_received"),
        ("touchpoint is store", "mood is good", 5, "is not a field"),
        ("touchpoint is store", "band is happy", 5, "it is one of promoter, passive, detractor"),
        ("touchpoint is store", "answered", 5, "only known when a step is due"),
        ("touchpoint is store", "{a: b}", 5, "must be a list"),
        ("max_age: 2d", "max_age: soon", 6, "is not a duration"),
        ("max_age: 2d", "max_age: [2d]", 6, "must be plain text"),
        ("after: 1h", "after: 1", 9, "is not a duration"),
        ("        after: 1h\n", "", 8, "'after' is missing"),
        ("after: 1h", "after: 9999d", 9, "longer than a year"),
        ("audience: customer", "audience: everybody", 10, "it is one of customer, agent, manager"),
        ("transport: email", "transport: pigeon", 11, "it is one of email, slack, webhook"),
        ("transport: email", "transport: slack", 11, "customers are reached by email"),
        ("transport: email", "transport: [email, pigeon]", 11, "it is one of email"),
        ("template: promoter-thanks", "template: nothing", 12, "is not known"),
        ("template: promoter-thanks", "template: agent-at-risk", 12, "is written for agent"),
        ("when: has_case", "when: bliss", 13, "is not a condition"),
        ("unless: [answered, not recovered]", "unless: [answered, 7 > 3]", 14, "is not a condition"),
        ("on: feedback_received", "on: score_alerted", 8, "concerns no single customer"),
        ("GOOD", "", 1, "must be a mapping"),
        ("EMPTY", "", 1, "empty"),
        ("version: 1", "version: 1\n\tx: y", 2, "not YAML"),
        ("version: 1", 'version: "1', 1, "not YAML"),
        ("version: 1", "version: !!python/object/apply:os.system [x]", 1, "must be plain text"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, line: int, reason: str) -> None:
    text = {"GOOD": "[1, 2]", "EMPTY": ""}.get(old, GOOD.replace(old, new))
    assert text != GOOD
    with pytest.raises(InvalidInput) as refused:
        parse(text)
    found = [(fault.path.partition(":")[0], fault.reason) for fault in refused.value.faults]
    assert any(where == f"line {line}" and reason in why for where, why in found), found
    assert "the old one stays in force" in refused.value.detail


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(GOOD.replace("1h", "soon").replace("feedback_received", "x").replace("has_case", "y"))
    assert len(refused.value.faults) == 3
    assert "and 2 more" in refused.value.detail


def test_two_plays_need_two_names() -> None:
    twice = GOOD + GOOD.partition("plays:\n")[2]
    with pytest.raises(InvalidInput) as refused:
        parse(twice)
    assert refused.value.faults[0].path == "line 15: plays[1].id"


@pytest.mark.parametrize(
    "condition", ["band is promoter", "band is not detractor", "band in [promoter, passive]", "sentiment is positive"]
)
@pytest.mark.parametrize("place", ["play", "when", "unless"])
def test_asking_only_some_scores_for_a_public_review_is_refused(condition: str, place: str) -> None:
    text = GOOD.replace("promoter-thanks", "review-invitation").replace("not recovered", "resolved")
    parse(text)
    spots = {"play": "touchpoint is store", "when": "has_case", "unless": "[answered, resolved]"}
    with pytest.raises(InvalidInput) as refused:
        parse(text.replace(spots[place], f'"{condition}"'))
    [fault] = refused.value.faults
    assert fault.path.startswith("line 8: plays[0] (thanks)")
    assert "review gating" in fault.reason


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "a: &a [*a]",
        "version: 1\nplays: &p\n  - *p",
        "x" * 70_000,
        "\x00",
        "version: 1\nplays:\n" + "  - id: a\n" * 200,
        "- " * 400,
        "? {}\n: x",
        "version: 1\nplays: 7",
    ],
    ids=range(9),
)
def test_hostile_files_are_refused_quickly(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)
