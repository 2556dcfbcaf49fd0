"""Nobody's work is stranded: capacity, absences, hours, changed documents."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.contracts.assignment_changed import AssignmentChangedV1
from tests.integration.routing.support import COMPLAINTS, TEAMS, World, by_feedback, message, running
from tests.support.poll import eventually


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running(database_url) as world:
        await world.teams()
        yield world


async def presence(world: World, member: str, away: bool, **more: Any) -> httpx.Response:
    answer = await world.call("PUT", f"/v1/members/{member}/presence", {"away": away, **more})
    assert answer.status_code == 204, answer.text
    return answer


def last(changes: list[AssignmentChangedV1]) -> dict[Any, AssignmentChangedV1]:
    return {feedback: each[-1] for feedback, each in by_feedback(changes).items()}


def with_member(member_id: str, **changed: Any) -> Mapping[str, Any]:
    members = [{**each, **changed} if each["id"] == member_id else each for each in TEAMS["members"]]
    return {**TEAMS, "members": members}


async def test_the_queue_drains_when_a_member_returns(world: World) -> None:
    await presence(world, "farah", True)
    event = message(1, COMPLAINTS["fa"])
    await world.publish(event)
    (queued,) = await world.changes(1)
    assert (queued.change, queued.member_id, queued.team) == ("queued", None, "care")
    assert queued.explanation is not None
    removed = {each.member_id: each.reason for each in queued.explanation.removed}
    assert removed == {"deniz": "does not speak fa", "farah": "away", "omid": "not in care"}
    await presence(world, "farah", False)
    _, assigned = await world.changes(2)
    assert (assigned.change, assigned.member_id, assigned.sequence) == ("assigned", "farah", 2)
    assert assigned.first_response_due_at == queued.first_response_due_at


async def test_the_queue_drains_when_an_absence_ends_by_itself(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await presence(world, "farah", True, until=soon.isoformat())
    await world.publish(message(1, COMPLAINTS["fa"]))
    queued, assigned = await world.changes(2)
    assert queued.explanation is not None
    assert any("away until" in each.reason for each in queued.explanation.removed)
    assert (queued.change, assigned.change) == ("queued", "assigned")


async def test_a_full_member_gets_no_more_until_they_answer(world: World) -> None:
    events = [message(n, COMPLAINTS["fa"]) for n in range(3)]
    await world.publish(*events)
    changes = await world.changes(3)
    assert sorted(change.change for change in changes) == ["assigned", "assigned", "queued"]
    queued = next(change for change in changes if change.change == "queued")
    assert queued.explanation is not None
    assert {"farah": "at capacity: 2 of 2"}.items() <= {
        r.member_id: r.reason for r in queued.explanation.removed
    }.items()
    held = next(change for change in changes if change.change == "assigned")
    assert (await world.act(held.assignment_id, "answer", key="farah")).status_code == 200
    assert last(await world.changes(5))[queued.feedback_id].member_id == "farah"
    members = (await world.call("GET", "/v1/members")).json()["items"]
    assert {each["id"]: each["open"] for each in members} == {"deniz": 0, "farah": 2, "omid": 0}


async def test_the_least_loaded_gets_it_and_the_customers_last_agent_before(world: World) -> None:
    customer = message("x").data.feedback_id
    first = message(1, customer_id=customer)
    await world.publish(first)
    (mine,) = await world.changes(1)
    await world.publish(message(2))
    changes = last(await world.changes(2))
    (second,) = [change for feedback, change in changes.items() if feedback != first.data.feedback_id]
    assert {mine.member_id, second.member_id} == {"deniz", "farah"}
    again = message(3, customer_id=customer)
    await world.publish(again)
    sticky = last(await world.changes(3))[again.data.feedback_id]
    assert sticky.member_id == mine.member_id
    assert sticky.explanation is not None
    assert "last agent" in sticky.explanation.chosen_because


async def test_who_goes_away_leaves_untaken_work_to_others(world: World) -> None:
    events = [message(n) for n in range(2)]
    await world.publish(*events)
    changes = await world.changes(2)
    assert {change.member_id for change in changes} == {"deniz", "farah"}
    of_deniz = next(change for change in changes if change.member_id == "deniz")
    await presence(world, "deniz", True)
    moved = last(await world.changes(3))[of_deniz.feedback_id]
    assert (moved.change, moved.state, moved.member_id, moved.actor) == ("handed_over", "assigned", "farah", "system")
    await world.act(moved.assignment_id, "take", key="farah")
    await presence(world, "farah", True)
    states = {change.state for change in last(await world.changes(5)).values()}
    assert states == {"taken", "queued"}  # what is begun stays; the rest waits for somebody
    await presence(world, "farah", True, hand_over_taken=True)
    assert {change.state for change in last(await world.changes(6)).values()} == {"queued"}
    await presence(world, "deniz", False)
    assert {change.member_id for change in last(await world.changes(8)).values()} == {"deniz"}


async def test_who_leaves_the_document_leaves_all_their_work(world: World) -> None:
    await world.publish(message(1, COMPLAINTS["fa"]))
    (given,) = await world.changes(1)
    await world.act(given.assignment_id, "take", key="farah")
    await world.teams({**TEAMS, "members": [each for each in TEAMS["members"] if each["id"] != "farah"]})
    # Nobody speaks Persian any more: it goes to whoever is there, for waiting would not help.
    assert (await world.changes(3))[-1].member_id == "deniz"


async def test_a_new_member_empties_the_queue(world: World) -> None:
    await world.publish(*(message(n) for n in range(6)))
    changes = await world.changes(6)
    assert sum(change.state == "queued" for change in changes) == 2
    await world.teams(with_member("deniz", capacity=10))
    assert {change.state for change in last(await world.changes(8)).values()} == {"assigned"}


async def test_nobody_is_asked_outside_their_hours(world: World) -> None:
    today = datetime.now(UTC)
    later = (today + timedelta(days=2)).strftime("%a").lower()
    hours = {"other-day": {"time_zone": "UTC", "week": {later: ["00:00-24:00"]}}}
    await world.teams({**with_member("farah", hours="other-day"), "hours": hours})
    await world.publish(message(1, COMPLAINTS["fa"]))
    (queued,) = await world.changes(1)
    assert queued.explanation is not None
    assert any("outside business hours until" in each.reason for each in queued.explanation.removed)
    await world.teams()
    assert (await world.changes(2))[-1].member_id == "farah"


async def test_without_teams_all_waits_and_the_first_document_gives_it_out(database_url: str) -> None:
    async with running(database_url) as world:
        await world.publish(message(1))
        (queued,) = await world.changes(1)
        assert (queued.state, queued.team) == ("queued", None)
        assert (await world.call("GET", "/v1/teams")).status_code == 404
        await world.teams()
        assert (await world.changes(2))[-1].state == "assigned"


async def test_after_a_long_wait_skills_relax(database_url: str) -> None:
    document = with_member("farah", skills=["praise"])
    async with running(database_url, relax_after_seconds=0.5) as world:
        await world.teams(document)
        event = message(1, COMPLAINTS["fa"])
        await world.publish(event)
        queued, assigned = await world.changes(2)
        assert queued.explanation is not None
        assert any("not skilled in" in each.reason for each in queued.explanation.removed)
        assert (assigned.change, assigned.member_id) == ("assigned", "farah")


async def test_a_better_priority_goes_first_then_the_longer_wait(world: World) -> None:
    for member in ("deniz", "farah"):
        await presence(world, member, True)
    low, first, urgent = message("low"), message("first"), message("urgent", public=True)
    for count, event in enumerate((first, low, urgent), start=1):
        await world.publish(event)
        await world.changes(count)
    await presence(world, "deniz", False)
    await world.changes(5)
    assigned = [change for change in await world.changes(5) if change.change == "assigned"]
    assert {change.feedback_id for change in assigned} == {urgent.data.feedback_id, first.data.feedback_id}
    queue = (await world.call("GET", "/v1/assignments", params={"state": "queued"})).json()["items"]
    assert [item["feedback_id"] for item in queue] == [str(low.data.feedback_id)]

    async def quiet() -> bool:
        async with world.database.reader() as reader:
            return bool(await reader.scalar("select count(*) = 0 from outbox"))

    assert await eventually(quiet)
