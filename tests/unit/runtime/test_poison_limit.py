"""The limit that tells poison from a broken handler: more than 100 in a row, or more than 1 % of at least 2,000."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import BadRecord, Fault
from shared.runtime.dead_letters import LIMIT_IN_A_ROW, PoisonLimit, describe

WINDOW = 10_000


def test_a_hundred_in_a_row_and_no_more() -> None:
    limit = PoisonLimit()
    for _ in range(LIMIT_IN_A_ROW):
        assert not limit.reached()
        limit.parked()
    assert limit.reached()
    limit.handled(0)
    assert limit.reached()
    limit.handled(1)
    assert not limit.reached()


def test_half_a_percent_is_poison() -> None:
    limit = PoisonLimit()
    for _ in range(500):
        limit.handled(199)
        assert not limit.reached()
        limit.parked()


def test_two_percent_is_a_broken_handler_once_enough_was_seen() -> None:
    limit = PoisonLimit()
    seen = 0
    while not limit.reached():
        limit.handled(49)
        if limit.reached():
            break
        limit.parked()
        seen += 50
    assert 1_900 <= seen <= 2_100


def test_a_bad_hour_is_forgotten_after_a_window_of_good_ones() -> None:
    limit = PoisonLimit()
    limit.handled(1_980)
    for _ in range(20):
        limit.parked()
    assert limit.reached()
    limit.handled(WINDOW)
    assert not limit.reached()


@given(st.lists(st.one_of(st.just(0), st.integers(1, 3_000)), max_size=200))
def test_it_counts_as_a_plain_list_would(steps: list[int]) -> None:
    """0 parks one, n handles n; compared with a count over the last 10,000 outcomes."""
    limit = PoisonLimit()
    outcomes: deque[int] = deque(maxlen=WINDOW)
    for step in steps:
        if step:
            limit.handled(step)
            outcomes.extend([0] * min(step, WINDOW))
        else:
            limit.parked()
            outcomes.append(1)
        trailing = 0
        for outcome in reversed(outcomes):
            if not outcome:
                break
            trailing += 1
        over_share = len(outcomes) >= 2_000 and (sum(outcomes) + 1) / len(outcomes) > 0.01
        assert limit.reached() == (trailing >= LIMIT_IN_A_ROW or over_share)


def test_of_foreign_errors_only_the_class_is_kept() -> None:
    assert describe(ValueError("mina@example.org")) == "ValueError"
    assert describe(BadRecord("no such team", faults=[Fault("team", "unknown")])) == "no such team (team: unknown)"
