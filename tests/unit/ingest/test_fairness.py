import pytest

from services.ingest import fairness
from services.ingest.fairness import Fairness
from shared.core.errors import TooManyRequests, Unavailable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(fairness.time, "monotonic", lambda: now[0])
    return now


def taken(door: Fairness, workspace: str, tries: int = 1000) -> int:
    for number in range(tries):
        try:
            door.admit(workspace)
        except TooManyRequests:
            return number
    return tries


def test_a_workspace_has_two_seconds_worth_at_once_and_then_its_rate(clock: list[float]) -> None:
    door = Fairness(10, 5)
    assert taken(door, "a") == 20
    assert taken(door, "b") == 20, "one workspace takes nothing from another"
    clock[0] += 0.5
    assert taken(door, "a") == 5
    clock[0] += 3600
    assert taken(door, "a") == 20


def test_who_comes_back_after_retry_after_is_let_in(clock: list[float]) -> None:
    door = Fairness(0.2, 5)
    assert taken(door, "a") == 0
    with pytest.raises(TooManyRequests) as refused:
        door.admit("a")
    assert refused.value.retry_after_seconds >= 1


def test_a_refused_request_costs_nothing(clock: list[float]) -> None:
    door = Fairness(1, 5)
    assert taken(door, "a") == 2
    for _ in range(100):
        assert taken(door, "a", 1) == 0
    clock[0] += 1
    assert taken(door, "a") == 1


def test_places_are_given_back_whatever_happens() -> None:
    door = Fairness(1, 1)

    def full() -> None:
        with door.room():
            pass

    def broken() -> None:
        with door.room():
            with pytest.raises(Unavailable):
                full()
            raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            broken()


def test_what_is_given_back_may_be_taken_again(clock: list[float]) -> None:
    door = Fairness(1, 1)
    assert taken(door, "a") == 2
    door.give_back("a")
    assert taken(door, "a") == 1
    door.enter()
    door.leave()
    with door.room(), pytest.raises(Unavailable):
        door.enter()
