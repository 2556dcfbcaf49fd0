"""Each checker finds its planted fault, and nothing in what is well."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.fault import checkers
from tests.fault.checkers import Findings


def ids(*numbers: int) -> list[UUID]:
    return [UUID(int=number) for number in numbers]


def test_lost() -> None:
    assert checkers.lost(ids(1, 2, 3), ids(1, 3, 4)) == set(ids(2))
    assert not checkers.lost(ids(1, 3), ids(3, 1, 4))


def test_phantom() -> None:
    assert checkers.phantom(ids(1, 2, 3), ids(3, 9)) == set(ids(3))
    assert not checkers.phantom(ids(1, 2), ids(3))


def test_duplicates() -> None:
    assert checkers.duplicates(ids(1, 2, 1, 1, 3)) == {UUID(int=1): 2}
    assert not checkers.duplicates(ids(1, 2, 3))


def test_deliveries_beyond_what_is_shown_as_unknown() -> None:
    sent = ["a", "a", "b", "b", "b", "c"]
    assert checkers.unexplained(sent, {"a": 1, "b": 1}) == {"b": 1}
    assert not checkers.unexplained(sent, {"a": 1, "b": 2})


def test_skips() -> None:
    assert checkers.skips([0, 1, 3, 4], 0, 6) == [2, 5]
    assert not checkers.skips([4, 3, 5], 3, 6)


def test_inversions_of_a_customer_and_not_between_customers() -> None:
    first, second, third, other = ids(1, 2, 3, 4)
    places = {first: (7, 0), second: (7, 1), third: (7, 2), other: (8, 0)}
    assert checkers.inversions([first, third, other, second], places) == [(7, 1, 2)]
    assert not checkers.inversions([first, other, second, third], places)


def test_a_repeat_of_an_earlier_effect_is_a_duplicate_and_no_inversion() -> None:
    first, second = ids(1, 2)
    assert not checkers.inversions([first, second, first], {first: (7, 0), second: (7, 1)})


def test_what_was_never_accepted_has_no_place_in_the_order() -> None:
    first, unsure, second = ids(1, 2, 3)
    assert not checkers.inversions([second, unsure], {first: (7, 0), second: (7, 2)})


def test_a_position_that_goes_back() -> None:
    assert checkers.backwards([("scoring/t/0", 0, 10), ("scoring/t/0", 10, 4)]) == [("scoring/t/0", 10, 4)]
    assert not checkers.backwards([("scoring/t/0", 0, 10), ("scoring/t/1", 3, 4)])


def test_slower_neighbours() -> None:
    quiet = [0.1] * 99 + [5.0]  # one hiccup is not the rule
    assert checkers.slower(quiet, [0.1] * 90 + [1.5] * 10) == 1.4
    assert checkers.slower(quiet, [0.1] * 100) == 0.0
    assert checkers.slower([], [3.0]) == 0.0


def test_findings_pass_only_when_all_is_well() -> None:
    assert Findings(events=5).passed()
    assert not Findings(events=0).passed(), "nothing happened, so nothing was shown"
    for kind in ("lost", "phantom", "duplicates", "inversions", "skips", "backwards"):
        wrong: Any = {kind: 1}
        assert not replace(Findings(events=5), **wrong).passed(), kind
    assert Findings(events=5, recovery_seconds=3, recovery_bound=4).passed()
    assert not Findings(events=5, recovery_seconds=5, recovery_bound=4).passed()
    assert not Findings(events=5, recovery_seconds=None, recovery_bound=4).passed()
    assert not Findings(events=5, notes=["an API answered after 9 s"]).passed()
