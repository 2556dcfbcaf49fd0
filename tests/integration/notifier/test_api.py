"""The API: roles, pages, plays, addresses, the unsubscribe link, the stream, and one workspace against another."""

import asyncio
import json
import socket
from typing import Any
from uuid import uuid4

import httpx
import uvicorn

from services.notifier.models import metadata
from shared.auth.keys import Role
from shared.db.database import make_engine
from shared.db.migrate import drift
from tests.integration.notifier.conftest import Notifier, feedback
from tests.support.poll import eventually

CANARY = "canary-7f3a"
PLAYS = """
version: 1
plays:
  - id: only
    on: feedback_received
    when: [band is promoter, "touchpoint in [delivery, store]"]
    steps:
      - {id: one, after: 2d, audience: customer, transport: email, template: promoter-thanks, unless: [answered]}
"""


async def test_the_models_and_the_migration_agree(database_url: str) -> None:
    engine = make_engine(database_url, "notifier")
    async with engine.connect() as connection:
        assert await connection.run_sync(drift, "notifier", metadata) == []
    await engine.dispose()


async def test_lists_page_by_cursor_and_filter(notifier: Notifier) -> None:
    await notifier.publish(*[feedback(2, email=f"person{n}@example.com") for n in range(7)])

    async def all_sent() -> bool:
        return [row.state for row in await notifier.rows()] == ["sent"] * 7

    await eventually(all_sent)
    async with notifier.client(Role.MANAGER) as client:
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(4):
            params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/v1/followups", params=params)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert cursor is None
        assert len(seen) == len(set(seen)) == 7
        times = [item["created_at"] for item in (await client.get("/v1/followups")).json()["items"]]
        assert times == sorted(times, reverse=True)
        assert (await client.get("/v1/followups", params={"state": "unknown"})).json()["items"] == []
        one = (await notifier.rows())[0]
        only = (await client.get("/v1/followups", params={"feedback_id": str(one.feedback_id)})).json()["items"]
        assert [item["id"] for item in only] == [str(one.id)]
        whole = (await client.get(f"/v1/followups/{one.id}")).json()
        assert [(a["number"], a["outcome"], a["status"]) for a in whole["ledger"]] == [(1, "ok", 250)]


async def test_a_foreign_cursor_is_refused(notifier: Notifier) -> None:
    async with notifier.client(Role.MANAGER) as client:
        for cursor in ("x", "W10", "bm90aGluZw", "eyJhIjoxfQ", "W251bGwsbnVsbF0", "é"):
            assert (await client.get("/v1/followups", params={"cursor": cursor})).status_code == 422, cursor


ROUTES = [
    ("GET", "/v1/followups"),
    ("GET", f"/v1/followups/{uuid4()}"),
    ("POST", f"/v1/followups/{uuid4()}/resend"),
    ("GET", "/v1/followups/stream"),
    ("GET", "/v1/plays"),
    ("PUT", "/v1/plays"),
    ("GET", "/v1/destinations"),
    ("PUT", "/v1/destinations/manager/slack"),
    ("DELETE", "/v1/destinations/manager/slack"),
    ("GET", "/v1/suppressions"),
    ("POST", "/v1/suppressions"),
    ("POST", "/v1/suppressions/remove"),
]


async def test_roles(notifier: Notifier) -> None:
    for method, path in ROUTES:
        async with notifier.client() as nobody:
            assert (await nobody.request(method, path, json={"email": "a@b.c"})).status_code == 401, path
        for role in (Role.CHANNEL, Role.AGENT):
            async with notifier.client(role) as client:
                answer = await client.request(method, path, json={"address": "x@y.z"})
                assert answer.status_code in {403, 422}, path
                assert answer.status_code == 403 or "json" not in answer.text, path
        if path.endswith("/stream"):
            continue
        for role in (Role.MANAGER, Role.OPERATOR, Role.ADMIN):
            async with notifier.client(role) as client:
                answer = await client.request(method, path, json={"nonsense": 1})
                assert answer.status_code in {200, 404, 422}, (path, role, answer.text)


async def test_one_workspace_sees_nothing_of_another(notifier: Notifier) -> None:
    theirs = feedback(2, workspace="other", email=f"{CANARY}@example.com", name=CANARY)
    await notifier.publish(theirs)
    row = await notifier.row("sent", workspace="other")
    async with notifier.client(Role.ADMIN, workspace="other") as client:
        await client.put("/v1/plays", content=PLAYS.replace("id: only", f"id: {CANARY}"))
        await client.put("/v1/destinations/manager/email", json={"address": f"{CANARY}@example.com"})
        await client.post("/v1/suppressions", json={"email": f"{CANARY}@example.com"})
        assert CANARY in (await client.get("/v1/plays")).text
        assert CANARY in (await client.get("/v1/destinations")).text
        assert CANARY in (await client.get("/v1/suppressions")).text
    async with notifier.client(Role.ADMIN) as client:
        for path in ("/v1/followups", "/v1/plays", "/v1/destinations", "/v1/suppressions"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert CANARY not in answer.text
        for method, path in (("GET", f"/v1/followups/{row.id}"), ("POST", f"/v1/followups/{row.id}/resend")):
            answer = await client.request(method, path)
            assert answer.status_code == 404
            assert answer.json()["detail"] == "there is no such follow-up"
        assert (await client.delete("/v1/destinations/manager/email")).status_code == 404
        gone = await client.post("/v1/suppressions/remove", json={"email": f"{CANARY}@example.com"})
        assert gone.status_code == 404


async def test_row_level_security_stands_on_every_table_with_a_workspace(notifier: Notifier) -> None:
    async with notifier.database.reader() as reader:
        rows = await reader.all(
            "select c.relname, c.relrowsecurity and c.relforcerowsecurity as guarded from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid "
            "where n.nspname = 'notifier' and c.relkind = 'r' and a.attname = 'workspace'"
        )
    assert {row.relname for row in rows} >= {"feedback", "followup", "attempt", "suppression", "play_file"}
    assert [row.relname for row in rows if not row.guarded] == []


async def test_plays_are_put_as_versions_and_bad_ones_change_nothing(notifier: Notifier) -> None:
    async with notifier.client(Role.MANAGER) as client:
        assert (await client.get("/v1/plays")).json()["version"] == "default"
        put = await client.put("/v1/plays", content=PLAYS)
        assert (put.status_code, put.json()["version"], put.json()["created_by"]) == (200, "1", "Mira")
        assert put.json()["plays"][0]["steps"][0] == {
            "id": "one",
            "after_seconds": 172800,
            "audience": "customer",
            "transport": ["email"],
            "template": "promoter-thanks",
            "when": [],
            "unless": ["answered"],
        }
        bad = await client.put("/v1/plays", content=PLAYS.replace("2d", "soon").replace("band is promoter", "bliss"))
        assert bad.status_code == 422
        assert [fault["path"] for fault in bad.json()["faults"]] == [
            "line 6: plays[0].when[0]",
            "line 8: plays[0].steps[0].after",
        ]
        assert "the old one stays in force" in bad.json()["detail"]
        assert (await client.put("/v1/plays", content=b"\xff\xfe")).status_code == 422
        now = (await client.get("/v1/plays")).json()
        assert (now["version"], now["content"]) == ("1", PLAYS)
        assert (await client.put("/v1/plays", content=PLAYS)).json()["version"] == "2"


BAD_ADDRESSES = [
    ("email", "a@x.com, b@y.com"),
    ("email", "nobody"),
    ("slack", "ftp://127.0.0.1/x"),
    ("slack", "http://169.254.169.254/latest/meta-data"),
    ("webhook", "https://user:pass@example.com/"),
    ("webhook", "not a url"),
]


async def test_a_bad_address_is_refused(notifier: Notifier) -> None:
    async with notifier.client(Role.MANAGER) as client:
        for transport, address in BAD_ADDRESSES:
            answer = await client.put(f"/v1/destinations/manager/{transport}", json={"address": address})
            assert answer.status_code == 422, address
        assert (await client.get("/v1/destinations")).json() == []


async def test_a_webhook_secret_is_shown_when_set_and_can_be_rotated(notifier: Notifier) -> None:
    async with notifier.client(Role.MANAGER) as client:
        path = "/v1/destinations/manager/webhook"
        first = (await client.put(path, json={"address": "https://cx.example.com/h"})).json()["secret"]
        same = (await client.put(path, json={"address": "https://cx.example.com/h2"})).json()["secret"]
        new = (await client.put(path, json={"address": "https://cx.example.com/h2", "rotate_secret": True})).json()
        assert first == same != new["secret"]
        assert first.startswith("whsec_")
        listed = await client.get("/v1/destinations")
        assert new["secret"] not in listed.text
        assert (await client.delete(path)).status_code == 204
        assert (await client.get("/v1/destinations")).json() == []


async def test_one_click_unsubscribes_at_once(notifier: Notifier) -> None:
    await notifier.publish(feedback(2, language="tr"))
    await notifier.row("sent", play="detractor-apology")
    [accepted] = notifier.mail.accepted
    link = accepted.mail["List-Unsubscribe"].strip("<>")
    assert accepted.mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link.startswith("https://feedback.lale.example/unsubscribe/lale.")
    assert link in accepted.part("plain")
    path = link.removeprefix("https://feedback.lale.example")
    assert "nora" not in path
    async with notifier.client() as anybody:
        page = await anybody.get(path)
        assert (page.status_code, "Takip e-postalarından çık" in page.text) == (200, True)
        assert "default-src 'none'" in page.headers["content-security-policy"]
        async with notifier.database.reader() as reader:
            assert await reader.scalar("select count(*) from suppression") == 0
        for _ in range(2):
            done = await anybody.post(path, content="List-Unsubscribe=One-Click")
            assert (done.status_code, "Tamamlandı" in done.text) == (200, True)
        for forged in (
            path[:-1] + ("A" if path[-1] != "A" else "E"),
            path.replace("lale.", "other."),
            "/unsubscribe/x",
        ):
            assert (await anybody.post(forged)).status_code == 404
    later = feedback(10)
    await notifier.publish(later)
    row = await notifier.row("suppressed", feedback_id=later.data.feedback_id, step="thanks")
    assert row.reason == "unsubscribed: by the link in a message"
    async with notifier.client(Role.MANAGER) as client:
        assert [entry["email"] for entry in (await client.get("/v1/suppressions")).json()] == ["nora@example.com"]
        removed = await client.post("/v1/suppressions/remove", json={"email": "nora@example.com"})
        assert removed.status_code == 204
    again = feedback(8)
    await notifier.publish(again)
    await notifier.row("sent", feedback_id=again.data.feedback_id)


async def test_changes_are_streamed_to_their_workspace(notifier: Notifier) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(notifier.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with notifier.client(Role.OPERATOR) as client:
            headers = dict(client.headers)
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=15) as live:
            bad = await live.get("/v1/followups/stream", headers={"Last-Event-ID": "nonsense"})
            assert bad.status_code == 422
            await notifier.publish(feedback(2, workspace="other"), feedback(2))
            from_the_start = {"Last-Event-ID": "0.0"}
            async with live.stream("GET", "/v1/followups/stream", headers=from_the_start) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 1000"
                seen: list[Any] = []
                async for line in lines:
                    if line.startswith("data: "):
                        seen.append(json.loads(line.removeprefix("data: ")))
                    if len(seen) == 3:
                        break
        assert [event["data"]["state"] for event in seen] == ["planned", "sending", "sent"]
        assert {event["workspace"] for event in seen} == {"lale"}
    finally:
        server.should_exit = True
        await serving
