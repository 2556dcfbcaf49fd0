"""Plans of topics: what is made, what is changed, and what is never done."""

import pytest

from shared.bus.plan import Action, Shape, plan, refuse_blocked
from shared.core.errors import Conflict

DAY = 86_400_000
WANTED = Shape("t", 24, 3, {"retention.ms": str(14 * DAY), "unclean.leader.election.enable": "false"})


def _found(partitions: int = 24, replicas: int = 3, **settings: str) -> dict[str, Shape]:
    changed = {name.replace("_", "."): value for name, value in settings.items()}
    return {"t": Shape("t", partitions, replicas, {**WANTED.settings, "segment.ms": "1", **changed})}


def test_what_is_missing_is_made() -> None:
    (step,) = plan([WANTED], {"another": WANTED})
    assert step.action is Action.CREATE
    assert step.why == (f"24 partitions, 3 replicas, retention.ms {14 * DAY}, unclean.leader.election.enable false",)
    refuse_blocked([step])


def test_what_is_as_it_should_be_stays_whatever_else_is_set() -> None:
    (step,) = plan([WANTED], _found())
    assert (step.action, step.why) == (Action.KEEP, ())


def test_longer_retention_and_other_words_are_changes() -> None:
    (step,) = plan([WANTED], _found(retention_ms=str(DAY), unclean_leader_election_enable="true"))
    assert step.action is Action.CHANGE
    assert step.why == (f"retention.ms {DAY} → {14 * DAY}", "unclean.leader.election.enable true → false")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (_found(partitions=48), "48 partitions, not 24"),
        (_found(partitions=12), "12 partitions, not 24"),
        (_found(replicas=1), "1 replicas, not 3"),
        (_found(replicas=5), "5 replicas, not 3"),
        (_found(retention_ms=str(15 * DAY)), f"retention.ms would shrink from {15 * DAY} to {14 * DAY}"),
        (_found(retention_ms="-1"), f"retention.ms would shrink from -1 to {14 * DAY}"),
    ],
)
def test_nothing_is_repartitioned_or_shortened(found: dict[str, Shape], why: str) -> None:
    steps = plan([WANTED, Shape("new", 1)], found)
    assert [step.action for step in steps] == [Action.REFUSE, Action.CREATE]
    assert why in steps[0].why[0]
    with pytest.raises(Conflict, match="nothing was changed") as caught:
        refuse_blocked(steps)
    assert [fault.path for fault in caught.value.faults] == ["t"]
