"""Whatever a person's answers become, the sums of pairs are those of a recount."""

import random
from collections import Counter
from uuid import UUID

from services.scoring.domain.repeats import Given, Person, RepeatKey, moved, neighbours
from services.scoring.domain.scores import Tally

ANNE: Person = (UUID(int=1), "s", "nps")


def given(at: int, feedback: int = 1, series: tuple[str, ...] = ("a",), value: int = 9) -> Given:
    return Given(at, UUID(int=feedback), at // 10, "nps", Tally(1, int(value >= 9), int(value <= 6)), series)


def test_each_answer_has_the_next_one() -> None:
    first, second, third = given(5, 3), given(20, 2), given(20, 9)
    assert neighbours([third, first, second]) == [(first, second), (second, third)]
    assert neighbours([first]) == []


def test_an_answer_in_the_middle_comes_between() -> None:
    first, middle, last = given(5, 1, ("a", "b")), given(15, 2, ("b",)), given(25, 3, ("c",))
    change = moved({ANNE: [first, last]}, {ANNE: [first, middle, last]})
    assert {key: tally.n for key, tally in change.items()} == {
        RepeatKey("a", "nps", 0, 2): -1,
        RepeatKey("b", "nps", 0, 2): -1,
        RepeatKey("a", "nps", 0, 1): 1,
        RepeatKey("b", "nps", 0, 1): 1,
        RepeatKey("b", "nps", 1, 2): 1,
    }


def test_changes_add_up_to_what_is_there_at_the_end() -> None:
    dice = random.Random(5)
    held: set[Given] = set()
    sums: Counter[RepeatKey] = Counter()
    for _ in range(300):
        before = set(held)
        one = given(dice.randrange(100), dice.randrange(6), dice.choice([("a",), ("a", "b")]), dice.randrange(11))
        taken_back = one in held
        held = {other for other in held if other[:2] != one[:2]} | (set() if taken_back else {one})
        for key, tally in moved({ANNE: before}, {ANNE: held}).items():
            sums[key] += tally.n
    wanted: Counter[RepeatKey] = Counter()
    for earlier, later in neighbours(held):
        wanted.update(RepeatKey(series, "nps", earlier.hour, later.hour) for series in earlier.series)
    assert +sums == wanted
    assert not -sums
