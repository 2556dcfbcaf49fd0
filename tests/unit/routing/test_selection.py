from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.domain.hours import Hours
from services.routing.domain.roster import Member, Roster, Team
from services.routing.domain.selection import EXPLAINED_MEMBERS, Desk, Presence, Want, choose
from shared.contracts.assignment_changed import Term

NOW = datetime(2026, 3, 10, 9, 14, tzinfo=UTC)  # a Tuesday
CLOSED = Hours("UTC", ((), ((600, 660),), (), (), (), (), ()))
ANA = Member("ana", "Ana", None, ("care",), frozenset({"en"}), frozenset(), 2)
TEAMS = (Team("care", "Care", frozenset({"support"})), Team("shop", "Shop", frozenset({"sales", "returns"})))
WANT = Want(("care",), "en", ("delivery",))


def roster(*members: Member) -> Roster:
    return Roster(TEAMS, members, default_team="care")


def test_departments_find_teams_whatever_their_case_and_the_default_takes_the_rest() -> None:
    found = roster(ANA)
    assert found.teams_for("Returns") == ("shop",)
    assert found.teams_for("unheard of", "sales") == ("shop",)
    assert found.teams_for(None, "none") == ("care",)


@pytest.mark.parametrize(
    ("member", "desk", "want", "reason"),
    [
        (ANA, {}, {}, None),
        (replace(ANA, teams=("shop",)), {}, {}, "not in care"),
        (ANA, {}, {"without": frozenset({"ana"})}, "it is handed over from them"),
        (replace(ANA, languages=frozenset({"tr"})), {}, {}, "does not speak en"),
        (replace(ANA, languages=frozenset({"tr"})), {}, {"language": "und"}, None),
        (replace(ANA, skills=frozenset({"bug"})), {}, {}, "not skilled in delivery"),
        (replace(ANA, skills=frozenset({"bug"})), {}, {"issues": ()}, None),
        (replace(ANA, skills=frozenset({"bug"})), {}, {"relaxed": True}, None),
        (replace(ANA, skills=frozenset({"bug", "delivery"})), {}, {}, None),
        (ANA, {"presence": {"ana": Presence(True)}}, {}, "away"),
        (ANA, {"presence": {"ana": Presence(True, NOW + timedelta(hours=1))}}, {}, "away until 2026-03-10T10:14:00Z"),
        (ANA, {"presence": {"ana": Presence(True, NOW)}}, {}, None),
        (ANA, {"presence": {"ana": Presence(False)}}, {}, None),
        (replace(ANA, hours=CLOSED), {}, {}, "outside business hours until 2026-03-10T10:00:00Z"),
        (ANA, {"open": {"ana": 2}}, {}, "at capacity: 2 of 2"),
        (ANA, {"open": {"ana": 1}}, {}, None),
    ],
)
def test_eligible(member: Member, desk: dict[str, Any], want: dict[str, Any], reason: str | None) -> None:
    other = replace(ANA, id="other", teams=("shop",))  # so that English is spoken at all
    choice = choose(roster(member, other), Desk(NOW, **desk), replace(WANT, **want))
    removed = {each.member_id: each.reason for each in choice.explanation.removed}
    assert removed.get("ana") == reason
    assert (choice.member is None) == (reason is not None)


def test_a_language_that_nobody_speaks_keeps_nobody_waiting() -> None:
    assert choose(roster(ANA), Desk(NOW), replace(WANT, language="de")).member is ANA


def test_after_a_long_wait_the_default_team_helps() -> None:
    want = replace(WANT, teams=("shop",))
    assert choose(roster(ANA), Desk(NOW), want).member is None
    assert choose(roster(ANA), Desk(NOW), replace(want, relaxed=True)).member is ANA


def test_the_fewest_open_wins_then_the_emptier_then_the_longest_without_new_work() -> None:
    crew = [replace(ANA, id=name, capacity=10) for name in "abc"]
    busy = Desk(NOW, {"a": 3, "b": 1, "c": 2})
    choice = choose(roster(*crew), busy, WANT)
    assert (choice.member, choice.explanation.chosen_because) == (crew[1], "fewest open: 1 against 2")
    assert choice.explanation.eligible == ("b", "c", "a")
    larger = replace(crew[2], capacity=20)
    assert choose(roster(*crew[:2], larger), Desk(NOW, dict.fromkeys("abc", 1)), WANT).member is larger
    times = {"a": NOW, "b": NOW - timedelta(hours=2), "c": NOW - timedelta(hours=1)}
    rested = choose(roster(*crew), Desk(NOW, last_assigned=times), WANT)
    assert rested.member is crew[1]
    assert "longest without new work" in rested.explanation.chosen_because


def test_the_last_agent_is_kept_while_that_is_fresh_and_they_can() -> None:
    crew = [replace(ANA, id=name) for name in "ab"]
    desk = Desk(NOW, {"b": 1})
    fresh = replace(WANT, last_agent=("b", NOW - timedelta(days=1)))
    assert choose(roster(*crew), desk, fresh, sticky_seconds=2 * 86_400).member is crew[1]
    assert choose(roster(*crew), desk, fresh, sticky_seconds=3600).member is crew[0]
    assert choose(roster(*crew), Desk(NOW, {"b": 2}), fresh, sticky_seconds=2 * 86_400).member is crew[0]


def test_nobody_eligible_is_said_with_the_queue_it_waits_in() -> None:
    terms = (Term(name="band", value=40),)
    choice = choose(roster(replace(ANA, capacity=1)), Desk(NOW, {"ana": 1}), WANT, terms)
    assert (choice.member, choice.team) == (None, "care")
    assert choice.explanation.chosen_because == "nobody is eligible: it waits in the queue of care"
    assert choice.explanation.priority_terms == terms
    assert choose(Roster(), Desk(NOW), replace(WANT, teams=())).team is None


def test_an_explanation_stays_small_in_a_large_crew() -> None:
    crowd = [replace(ANA, id=f"m{n}", teams=("shop",)) for n in range(EXPLAINED_MEMBERS + 7)]
    explanation = choose(roster(ANA, *crowd), Desk(NOW), WANT).explanation
    assert len(explanation.removed) == EXPLAINED_MEMBERS
    assert "7 more" in explanation.chosen_because


MEMBERS = st.lists(
    st.builds(
        Member,
        id=st.uuids().map(str),
        name=st.just("x"),
        email=st.none(),
        teams=st.sampled_from([("care",), ("shop",), ("care", "shop")]),
        languages=st.frozensets(st.sampled_from(["en", "tr", "fa"]), min_size=1),
        skills=st.frozensets(st.sampled_from(["bug", "delivery"])),
        capacity=st.integers(1, 3),
    ),
    max_size=6,
)
WANTS = st.lists(
    st.builds(
        Want,
        teams=st.sampled_from([("care",), ("shop",)]),
        language=st.sampled_from(["en", "tr", "fa", "und"]),
        issues=st.sampled_from([(), ("bug",), ("delivery", "bug")]),
    ),
    max_size=20,
)


@given(MEMBERS, WANTS)
def test_everybody_is_accounted_for_and_nobody_is_overloaded(members: list[Member], wants: list[Want]) -> None:
    crew, desk = roster(*members), Desk(NOW)
    for want in wants:
        choice = choose(crew, desk, want)
        named = [*choice.explanation.eligible, *(each.member_id for each in choice.explanation.removed)]
        assert sorted(named) == sorted(member.id for member in members)
        assert (choice.member is None) == (not choice.explanation.eligible)
        if choice.member is not None:
            least = min(desk.load(m) for m in members if m.id in choice.explanation.eligible)
            assert desk.load(choice.member) == least
            desk.place(choice.member.id)
    assert all(desk.load(member) <= member.capacity for member in members)
