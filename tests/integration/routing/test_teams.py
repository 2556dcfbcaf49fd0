import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.routing.support import COMPLAINTS, TEAMS, World, message, running
from tests.support.poll import eventually

GOOD = """
workspace: acme
teams:
  - id: care
    default: true
members:
  - id: aylin
    name: Aylin
    teams: [care]
    languages: [tr]
"""
BAD = GOOD.replace("[care]", "[cear]")


async def members(world: World) -> list[str]:
    answer = await world.call("GET", "/v1/members")
    return [each["id"] for each in answer.json()["items"]] if answer.status_code == 200 else []


async def test_a_document_is_read_as_it_was_written(database_url: str) -> None:
    async with running(database_url) as world:
        text = "teams:\n- id: care\nmembers:\n- {id: ana, name: Ana, teams: [care], languages: [no]}\n"
        token = await world.key("boss")
        headers = {"authorization": f"Bearer {token}", "content-type": "application/yaml"}
        put = await world.client.put("/v1/teams", content=text, headers=headers)
        assert (put.status_code, put.json()) == (200, {"version": 1})
        got = await world.call("GET", "/v1/teams")
        assert (got.headers["etag"], got.json()["changed_by"]) == ('"1"', "boss")
        document = {key: value for key, value in got.json()["document"].items() if value}
        assert document["members"][0]["languages"] == ["no"]
        again = await world.call("PUT", "/v1/teams", got.json()["document"], headers={"if-match": '"1"'})
        assert again.json() == {"version": 2}
        stale = await world.call("PUT", "/v1/teams", TEAMS, headers={"if-match": '"1"'})
        assert (stale.status_code, "version 2 is in force" in stale.text) == (409, True)
        assert await members(world) == ["ana"]


BAD_DOCUMENTS = [
    ("application/yaml", "teams:\n- id: a\n  color: red\n", "line 3: teams.0.color", "Extra inputs"),
    ("application/yaml", "teams:\n- id: a\n- id: b\n  - c\n", "line 4", "expected"),
    ("application/yaml", "teams: &a\n- id: a\nmembers: *a\n", "", "aliases"),
    ("application/json", json.dumps({"teams": [{"id": "a"}, {"id": "a"}]}), "teams.1.id", "there twice"),
    ("application/json", '{"teams": [\n}', "line 2", "Expecting"),
    ("application/json", '{"teams": []}', "teams", "at least one team"),
    ("application/json", "[" * 100_000, "line 1", "nested too deep"),
    ("application/yaml", "[" * 5000, "", "nested too deep"),
    ("text/csv", "a,b", "", "application/yaml"),
]


async def test_a_bad_document_is_refused_with_its_place(shared_world: World) -> None:
    token = await shared_world.key("boss")
    for kind, body, path, reason in BAD_DOCUMENTS:
        headers = {"authorization": f"Bearer {token}", "content-type": kind}
        answer = await shared_world.client.put("/v1/teams", content=body, headers=headers)
        assert answer.status_code == 422, (body[:80], answer.text)
        assert path in answer.text, body[:80]
        assert reason in answer.text, body[:80]
    assert (await shared_world.call("GET", "/v1/teams")).status_code == 404


@pytest.fixture
async def shared_world(database_url: str) -> Any:
    async with running(database_url) as world:
        yield world


async def test_agents_may_read_but_not_change_teams(shared_world: World) -> None:
    assert (await shared_world.call("PUT", "/v1/teams", TEAMS, key="deniz")).status_code == 403
    assert (await shared_world.call("POST", "/v1/teams/reload", key="deniz")).status_code == 403
    reload = await shared_world.call("POST", "/v1/teams/reload")
    assert (reload.status_code, "TEAMS_FILE" in reload.text) == (409, True)
    wrong = await shared_world.call("PUT", "/v1/members/nobody/presence", {"away": True})
    assert wrong.status_code == 404
    until = {"away": False, "until": "2030-01-01T00:00:00Z"}
    assert (await shared_world.call("PUT", "/v1/members/deniz/presence", until)).status_code == 422


async def test_a_file_is_in_force_when_it_changes_and_a_bad_one_keeps_the_old(
    database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "teams.yaml"
    path.write_text(GOOD, encoding="utf-8")
    async with running(database_url, teams_file=path, teams_file_poll_seconds=0.05) as world:
        assert await eventually(lambda: members(world)) == ["aylin"]
        path.write_text(BAD, encoding="utf-8")
        refused = await world.call("POST", "/v1/teams/reload")
        assert refused.status_code == 422
        assert refused.json()["faults"] == [
            {"path": "line 9: members.0.teams.0", "reason": "no team is called cear; there is care"}
        ]
        assert await members(world) == ["aylin"]
        await world.publish(message(1, COMPLAINTS["tr"]))
        assert (await world.changes(1))[0].member_id == "aylin"
        path.write_text(GOOD.replace("aylin", "berk"), encoding="utf-8")

        async def berk() -> bool:
            return await members(world) == ["berk"]

        assert await eventually(berk)
        handed = (await world.changes(2))[-1]
        assert (handed.change, handed.member_id) == ("handed_over", "berk")
        stranger = await world.call("POST", "/v1/teams/reload", workspace="other")
        assert (stranger.status_code, "acme" in stranger.text) == (422, False)


async def test_a_restart_does_not_undo_what_was_changed_by_api(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "teams.yaml"
    path.write_text(GOOD, encoding="utf-8")
    settings = {"teams_file": path, "teams_file_poll_seconds": 0.05}
    async with running(database_url, **settings) as world:
        await eventually(lambda: members(world))
        await world.teams()
    async with running(database_url, **settings) as world:
        reload = await world.call("POST", "/v1/teams/reload")
        assert (reload.status_code, reload.json()["version"]) == (200, None)
        assert await members(world) == ["deniz", "farah", "omid"]
