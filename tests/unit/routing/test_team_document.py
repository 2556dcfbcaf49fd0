from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.domain.roster import Sla
from services.routing.team_document import from_file, from_json, from_yaml, stored
from shared.core.errors import InvalidInput

GOOD = """\
hours:
  office:
    time_zone: Europe/Istanbul
    week:
      mon: [09:00-12:30, 13:30-18:00]
      sat: ["22:00-24:00"]
    holidays: [2026-10-29]
sla:
  at_risk_share: 0.5
  hours: office
  first_response_seconds: {urgent: 60, low: null}
segments: {VIP: 20}
teams:
  - {id: sales, departments: [Sales]}
  - id: care
    name: Customer care
    departments: [support, Returns]
    default: true
members:
  - id: m-1
    name: Deniz Aydın
    email: deniz@example.com
    teams: [care, sales]
    languages: [tr, no]
    skills: [delivery]
    capacity: 3
    hours: office
"""


def test_everything_that_can_be_written_arrives() -> None:
    roster = from_yaml(GOOD).roster(7, Sla({"urgent": 300, "high": 1800, "low": 5}))
    (member,) = roster.members
    assert (member.languages, member.skills, member.capacity) == (frozenset({"tr", "no"}), frozenset({"delivery"}), 3)
    assert member.hours is not None
    assert member.hours.week[0] == ((540, 750), (810, 1080))
    assert member.hours.week[5] == ((1320, 1440),)
    assert [str(day) for day in member.hours.holidays] == ["2026-10-29"]
    assert (roster.version, roster.default_team, roster.segments) == (7, "care", {"vip": 20})
    assert roster.teams_for("returns") == ("care",)
    assert roster.sla is not None
    assert roster.sla.first_response_seconds == {"urgent": 60, "high": 1800, "low": None}
    assert (roster.sla.at_risk_share, roster.sla.hours) == (0.5, member.hours)


def test_what_is_stored_reads_the_same() -> None:
    document = from_yaml(GOOD)
    assert stored(document.model_dump(mode="json", exclude_none=True)).teams == document.teams
    again = stored(document.model_dump(mode="json"))
    assert again == document


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("capacity: 3", "capacity: 0", 26, "greater than or equal to 1"),
        ("capacity: 3", "capacity: three", 26, "valid integer"),
        ("capacity: 3", "capcity: 3", 26, "Extra inputs"),
        ("    name: Deniz Aydın\n", "", 20, "Field required"),
        ("languages: [tr, no]", "languages: [Turkish]", 24, "pattern"),
        ("skills: [delivery]", "skills: [flying]", 25, "Input should be"),
        ("teams: [care, sales]", "teams: [care, slaes]", 23, "no team is called slaes; there is sales, care"),
        ("    hours: office\n", "    hours: night\n", 27, "no hours is called night; there is office"),
        ("  hours: office\n  first", "  hours: night\n  first", 10, "no hours is called night"),
        ("Europe/Istanbul", "Europe/Constantinople", 3, "unknown time zone"),
        ("09:00-12:30", "9-12", 5, "write an interval as"),
        ("09:00-12:30", "12:30-09:00", 5, "ends after it begins"),
        ("09:00-12:30", "09:00-14:00", 5, "overlap"),
        ("sat:", "saturday:", 6, "pattern"),
        ("2026-10-29", "29 October", 7, "valid date"),
        ("urgent: 60", "urgent: -1", 11, "greater than 0"),
        ("urgent: 60", "vital: 60", 11, "Input should be"),
        ("id: sales,", "id: sales, default: true,", 18, "only one team can be the default"),
        ("id: m-1", "id: system", 20, "choose another id"),
        ("deniz@example.com", "deniz", 22, "pattern"),
        ("    capacity: 3\n", "    capacity: 3\n    name: Twice\n", 27, "written twice"),
    ],
)
def test_a_fault_has_its_line(old: str, new: str, line: int, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidInput) as caught:
        from_yaml(GOOD.replace(old, new))
    faults = caught.value.faults
    assert any(fault.path.startswith(f"line {line}") and reason in fault.reason for fault in faults), faults
    assert "line" in caught.value.detail


def test_a_file_says_whose_it_is() -> None:
    workspace, document = from_file(f"workspace: acme\n{GOOD}")
    assert (workspace, document) == ("acme", from_yaml(GOOD))
    for bad in (GOOD, f"workspace: 'no such/name'\n{GOOD}"):
        with pytest.raises(InvalidInput, match="workspace"):
            from_file(bad)
    with pytest.raises(InvalidInput, match="workspace"):
        from_yaml(f"workspace: acme\n{GOOD}")


@given(st.one_of(st.text(), st.text("[]{}:-&*!|>#'\" \n\tab0", max_size=40)))
def test_any_other_text_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidInput):
        from_yaml(text)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["teams", "members", "hours", "sla", "x"]), inner, max_size=4)
    ),
)


@given(JSON)
def test_any_other_value_is_refused_with_its_faults(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_json(value)
    assert caught.value.faults
