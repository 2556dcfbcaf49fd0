"""Several processes at once: capacity holds, and streams show only what belongs to their workspace."""

import asyncio
import json
from uuid import UUID

import httpx

from shared.http.app import Readiness, create_app
from shared.runtime.supervisor import HttpServer, listen
from tests.integration.routing.support import TEAMS, World, message, running
from tests.support.poll import eventually


async def test_two_processes_never_give_anybody_more_than_they_can_hold(database_url: str) -> None:
    """Forty customers are spread over the partitions, and the partitions over both processes."""
    document = {
        "teams": [{"id": "care"}],
        "members": [
            {"id": f"m{n}", "name": "M", "teams": ["care"], "languages": ["en"], "capacity": n} for n in range(1, 6)
        ],
    }
    async with running(database_url) as world, running(database_url):
        await world.teams(document)
        await world.publish(*(message(n, customer_id=UUID(int=n)) for n in range(40)))
        await world.changes(40)
        members = (await world.call("GET", "/v1/members")).json()["items"]
        assert {each["id"]: each["open"] for each in members} == {f"m{n}": n for n in range(1, 6)}
        held = (await world.call("GET", "/v1/assignments", params={"state": "assigned"})).json()["items"]
        answers = [await world.act(item["id"], "answer") for item in held]
        assert {answer.status_code for answer in answers} == {200}

        async def refilled() -> bool:
            listed = (await world.call("GET", "/v1/assignments", params={"state": "queued"})).json()["items"]
            return len(listed) == 40 - 30

        assert await eventually(refilled)
        members = (await world.call("GET", "/v1/members")).json()["items"]
        assert all(each["open"] == each["capacity"] for each in members)


async def test_a_stream_shows_changes_of_its_own_workspace(database_url: str) -> None:
    async with running(database_url) as world:
        await world.teams()
        await world.teams(TEAMS, workspace="other")
        listener = listen("127.0.0.1", 0)
        server = HttpServer(create_app("routing", "test", world.service.routers, Readiness({})), listener)
        serving = asyncio.create_task(server.run())
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with asyncio.timeout(15), httpx.AsyncClient(base_url=base) as client:
                for path, kind in (("/v1/assignments/stream", "assignment_id"), ("/v1/routed/stream", "language")):
                    seen = await _first(world, client, path)
                    assert (seen["workspace"], kind in seen["data"]) == ("acme", True)
        finally:
            await server.stop()
            await serving


async def _first(world: World, client: httpx.AsyncClient, path: str) -> dict[str, object]:
    # From the beginning: what is published before the stream has begun to listen is not missed.
    headers = {"authorization": f"Bearer {await world.key('deniz')}", "last-event-id": "0.0"}
    async with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert (await anext(lines)).startswith("retry")
        await world.publish(message(path, workspace="other"))
        await world.publish(message(path))
        async for line in lines:
            if line.startswith("data: "):
                return dict(json.loads(line.removeprefix("data: ")))
    raise AssertionError("the stream ended")
