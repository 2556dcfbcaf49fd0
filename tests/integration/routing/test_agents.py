import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.auth.keys import Role
from shared.contracts.assignment_changed import AssignmentChangedV1
from tests.integration.routing.support import TEAMS, World, message, running


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running(database_url) as world:
        await world.teams()
        yield world


async def assigned(world: World) -> AssignmentChangedV1:
    """A fresh assignment, the first of its test."""
    await world.publish(message(1))
    (change,) = await world.changes(1)
    return change


async def test_the_whole_way_of_one_assignment(world: World) -> None:
    first = await assigned(world)
    holder = first.member_id
    assert holder is not None
    mine = await world.call("GET", "/v1/assignments", key=holder, params={"mine": True})
    assert [item["id"] for item in mine.json()["items"]] == [str(first.assignment_id)]
    assert mine.json()["items"][0]["excerpt"].startswith("My parcel never arrived")
    taken = await world.act(first.assignment_id, "take", key=holder)
    assert (taken.status_code, taken.json()["state"], taken.json()["sequence"]) == (200, "taken", 2)
    again = await world.act(first.assignment_id, "take", key=holder)
    assert (again.status_code, again.json()["sequence"]) == (200, 2)
    answered = await world.act(first.assignment_id, "answer", {"note": "A new one is on its way."}, key=holder)
    assert (answered.json()["state"], answered.json()["first_response_seconds"] > 0) == ("answered", True)
    assert (await world.act(first.assignment_id, "answer", key=holder)).json()["sequence"] == 3
    end = {"cause": "carrier_delay", "action": "replacement_sent"}
    resolved = await world.act(first.assignment_id, "resolve", end, key=holder)
    assert (resolved.json()["state"], resolved.json()["resolution"]) == ("resolved", end)
    assert (await world.act(first.assignment_id, "resolve", end, key=holder)).json()["sequence"] == 4
    other_end = await world.act(first.assignment_id, "resolve", {"cause": "x", "action": "y"}, key=holder)
    assert other_end.status_code == 409
    case = await world.show(first.assignment_id)
    assert [line["change"] for line in case["history"]] == ["assigned", "taken", "answered", "resolved"]
    assert [line["actor"] for line in case["history"]] == ["system", holder, holder, holder]
    assert case["history"][0]["explanation"]["chosen_because"]
    assert (case["feedback"]["customer"]["name"], case["tags"]["language"]) == ("Kim Example", "en")
    assert [change.change for change in await world.changes(4)] == ["assigned", "taken", "answered", "resolved"]
    gone = await world.call("GET", "/v1/assignments")
    assert gone.json()["items"] == []
    reopened = await world.act(first.assignment_id, "reopen", {"reason": "It broke again."})
    assert (reopened.json()["state"], reopened.json()["member"]) == ("assigned", holder)
    assert reopened.json()["first_response_seconds"] == answered.json()["first_response_seconds"]


async def test_of_two_who_take_at_once_one_wins(world: World) -> None:
    first = await assigned(world)
    await asyncio.gather(world.key("deniz"), world.key("farah"))
    both = await asyncio.gather(*(world.act(first.assignment_id, "take", key=key) for key in ("deniz", "farah")))
    assert sorted(each.status_code for each in both) == [200, 409]
    winner = next(each.json()["member"] for each in both if each.status_code == 200)
    loser = next(each for each in both if each.status_code == 409)
    assert f"by {winner}" in loser.json()["detail"]
    assert [change.change for change in await world.changes(2)] == ["assigned", "taken"]


async def test_what_others_hold_is_theirs_but_a_manager_may(world: World) -> None:
    first = await assigned(world)
    other = "farah" if first.member_id == "deniz" else "deniz"
    for action, body in (
        ("answer", None),
        ("resolve", {"cause": "c", "action": "a"}),
        ("hand_over", {"reason": "r", "to_member": other}),
    ):
        refused = await world.act(first.assignment_id, action, body, key=other)
        assert (refused.status_code, f"{first.member_id} has it" in refused.text) == (409, True)
    given = await world.act(first.assignment_id, "hand_over", {"reason": "Knows her.", "to_member": other})
    assert (given.json()["member"], given.json()["state"]) == (other, "assigned")
    assert given.json()["history"][-1]["note"] == "Knows her."
    assert given.json()["history"][-1]["actor"] == "boss"


async def test_hand_over_to_a_team_and_to_nobody_in_particular(world: World) -> None:
    first = await assigned(world)
    sales = await world.act(first.assignment_id, "hand_over", {"reason": "Wants to buy.", "to_team": "sales"})
    assert (sales.json()["team"], sales.json()["member"]) == ("sales", "omid")
    best = await world.act(first.assignment_id, "hand_over", {"reason": "Not mine."}, key="omid")
    assert best.json()["state"] == "queued"  # the team it was given to has nobody else
    assert best.json()["history"][-1]["explanation"]["removed"][-1] == {
        "member_id": "omid",
        "reason": "it is handed over from them",
    }
    for wrong, body in (
        (422, {"reason": "r", "to_team": "nobody"}),
        (422, {"reason": "r", "to_member": "nobody"}),
        (422, {"reason": "r", "to_member": "omid", "to_team": "sales"}),
        (422, {"to_member": "omid"}),
    ):
        assert (await world.act(first.assignment_id, "hand_over", body)).status_code == wrong
    assert (await _away(world, "farah", True)).status_code == 204
    stranded = await world.act(first.assignment_id, "hand_over", {"reason": "r", "to_member": "farah"})
    assert (stranded.status_code, "is away" in stranded.text) == (409, True)


async def test_a_stale_view_is_refused(world: World) -> None:
    first = await assigned(world)
    await world.act(first.assignment_id, "take", {"sequence": 1}, key=str(first.member_id))
    stale = await world.act(first.assignment_id, "answer", {"sequence": 1}, key=str(first.member_id))
    assert (stale.status_code, "its sequence is 2, you saw 1" in stale.text) == (409, True)


async def test_wrong_requests_say_what_is_wrong(world: World) -> None:
    first = await assigned(world)
    assert (await world.act(uuid4(), "take", key="deniz")).status_code == 404
    assert (await world.act("no-id", "take", key="deniz")).status_code == 422
    stranger = await world.act(first.assignment_id, "take", key="stranger")
    assert (stranger.status_code, "no member is called stranger" in stranger.text) == (422, True)
    assert (await world.act(first.assignment_id, "take", {"member": "deniz", "x": 1})).status_code == 422
    assert (await world.act(first.assignment_id, "reopen", {"reason": "r"})).status_code == 409
    assert (await world.act(first.assignment_id, "resolve", {"cause": "c"})).status_code == 422
    assert (await world.call("GET", "/v1/assignments", params={"cursor": "nonsense"})).status_code == 422
    assert (await world.call("GET", "/v1/assignments", params={"state": "lost"})).status_code == 422
    assert (await world.client.get("/v1/assignments")).status_code == 401
    channel = await world.key("frontline", role=Role.CHANNEL)
    refused = await world.client.get("/v1/assignments", headers={"x-api-key": channel})
    assert refused.status_code == 403
    stream = await world.call("GET", "/v1/assignments/stream", headers={"last-event-id": "x.y"})
    assert stream.status_code == 422


async def test_another_workspace_sees_nothing(world: World) -> None:
    first = await assigned(world)
    await world.teams({**TEAMS, "members": []}, workspace="other")
    for method, path, body in (
        ("GET", f"/v1/assignments/{first.assignment_id}", None),
        ("GET", f"/v1/feedback/{first.feedback_id}/tags", None),
        ("POST", f"/v1/assignments/{first.assignment_id}/take", {"member": "deniz"}),
        ("POST", f"/v1/assignments/{first.assignment_id}/answer", None),
        ("POST", f"/v1/assignments/{first.assignment_id}/resolve", {"cause": "c", "action": "a"}),
        ("POST", f"/v1/assignments/{first.assignment_id}/hand_over", {"reason": "r"}),
        ("POST", f"/v1/assignments/{first.assignment_id}/reopen", {"reason": "r"}),
        ("PUT", "/v1/members/deniz/presence", {"away": True}),
    ):
        answer = await world.call(method, path, body, workspace="other")
        assert (answer.status_code, "deniz has" in answer.text) == (404, False), path
    listed = await world.call("GET", "/v1/assignments", workspace="other")
    assert listed.json()["items"] == []
    assert (await world.show(first.assignment_id))["sequence"] == 1


async def test_the_list_shows_the_most_pressing_first_page_by_page(world: World) -> None:
    angry = {"ratings": (), "public": True}
    events = [message(f"n{n}") for n in range(5)] + [message(f"p{n}", **angry) for n in range(3)]
    await world.publish(*events)
    await world.changes(8)
    seen, cursor = [], None
    while True:
        params: dict[str, Any] = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await world.call("GET", "/v1/assignments", params=params)).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert len({item["id"] for item in seen}) == 8
    due = [item["first_response_due_at"] for item in seen]
    assert due == sorted(due)
    assert {item["priority"] for item in seen[:3]} == {"high"}
    queued = await world.call("GET", "/v1/assignments", params={"state": "queued"})
    assert len(queued.json()["items"]) == 4  # two members take two each
    high = await world.call("GET", "/v1/assignments", params={"priority": "high", "team": "care"})
    assert len(high.json()["items"]) == 3


async def _away(world: World, member: str, away: bool, **more: Any) -> httpx.Response:
    return await world.call("PUT", f"/v1/members/{member}/presence", {"away": away, **more})
