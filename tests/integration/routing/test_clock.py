from collections.abc import AsyncIterator

import pytest

from shared.contracts.topics import ASSIGNMENT_CHANGED
from tests.integration.routing.support import World, by_feedback, message, running
from tests.support.poll import eventually


def clocks(seconds: float) -> dict[str, float]:
    return {f"sla_{priority}_seconds": seconds for priority in ("urgent", "high", "normal", "low")}


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running(database_url, **clocks(0.6), sla_at_risk_share=0.5) as world:
        await world.teams()
        yield world


async def test_at_risk_comes_before_breach_and_each_comes_once(world: World) -> None:
    event = message(1)
    await world.publish(event)
    await world.changes(3)
    # Whatever would fire twice had its chance once a later clock has run out too.
    await world.publish(message(2))
    changes = by_feedback(await world.changes(6))
    assert [change.change for change in changes[event.data.feedback_id]] == ["assigned", "at_risk", "breached"]
    assert [len(each) for each in changes.values()] == [3, 3]
    breached = changes[event.data.feedback_id][-1]
    case = await world.show(breached.assignment_id)
    assert case["clock"] == "breached"
    assert case["first_response_left_seconds"] < 0
    at = {line["change"]: line["at"] for line in case["history"]}
    due = breached.first_response_due_at
    assert due is not None
    assert at["at_risk"] < due.isoformat().replace("+00:00", "Z") <= at["breached"]


async def test_an_answer_stops_the_clock_and_tells_how_long_it_took(database_url: str) -> None:
    # Long enough to answer in time on a busy machine.
    async with running(database_url, **clocks(4)) as world:
        await world.teams()
        await world.publish(message("answered"))
        (assigned,) = await world.changes(1)
        answered = await world.act(assigned.assignment_id, "answer", {"member": assigned.member_id, "note": "Sorry!"})
        assert answered.status_code == 200, answered.text
        assert answered.json()["clock"] == "stopped"
        other = message("left")
        await world.publish(other)
        await eventually(lambda: _changed(world, other.data.feedback_id, "breached"))
        changes = by_feedback(await world.changes(1))[assigned.feedback_id]
        assert [change.change for change in changes] == ["assigned", "answered"]
        assert changes[-1].first_response_seconds is not None
        assert 0 < changes[-1].first_response_seconds < 4
        assert changes[-1].sensitive.note == "Sorry!"
        async with world.database.reader() as reader:
            assert await reader.scalar("select count(*) from timer") == 0


async def _changed(world: World, feedback_id: object, change: str) -> bool:
    events = await world.seen(ASSIGNMENT_CHANGED)
    return any(event.data.feedback_id == feedback_id and event.data.change == change for event in events)


async def test_without_sla_no_clock_runs(database_url: str) -> None:
    async with running(database_url, **clocks(0)) as world:
        await world.teams()
        await world.publish(message(1))
        (assigned,) = await world.changes(1)
        assert assigned.first_response_due_at is None
        assert (await world.show(assigned.assignment_id))["clock"] == "none"
