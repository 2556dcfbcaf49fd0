"""API keys at the door, on a real table of keys."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends

from shared.auth.keys import ApiKey, Principal, Role, new_key
from shared.bus import codec
from shared.core.errors import Unauthenticated, Unavailable
from shared.db.database import Database
from shared.db.platform import ApiKeys, StoredKey
from shared.http import authentication
from shared.http.app import Readiness, create_app
from shared.http.authentication import Authenticator
from shared.telemetry.logging import configure_logging
from tests.support.poll import eventually


class Away(ApiKeys):
    """Keys whose database can be taken away."""

    away = False
    frozen: asyncio.Event | None = None
    asked = 0

    async def find(self, key_id: str) -> StoredKey | None:
        self.asked += 1
        if self.frozen is not None:
            await self.frozen.wait()
        if self.away:
            raise Unavailable("away")
        return await super().find(key_id)


@pytest.fixture
async def keys(database_url: str) -> AsyncIterator[Away]:
    database = Database(database_url, "platform", encode=codec.encode)
    try:
        yield Away(database)
    finally:
        await database.stop()


@pytest.fixture
async def client(keys: Away) -> AsyncIterator[httpx.AsyncClient]:
    authenticator = Authenticator(keys)
    router = APIRouter()

    @router.get("/agents")
    async def agents(principal: Annotated[Principal, Depends(authenticator.require(Role.AGENT))]) -> list[str]:
        return [principal.workspace, principal.name]

    app = create_app("test", "1", [router], Readiness({}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def add(keys: ApiKeys, *roles: Role, workspace: str = "acme") -> ApiKey:
    key = new_key()
    await keys.add(key_id=key.id, workspace=workspace, name="desk", roles=roles, secret_hash=key.secret_hash)
    return key


async def status(client: httpx.AsyncClient, **headers: str) -> int:
    return (await client.get("/agents", headers={k.replace("_", "-"): v for k, v in headers.items()})).status_code


async def test_the_forms_in_which_a_key_is_taken(client: httpx.AsyncClient, keys: Away) -> None:
    key = (await add(keys, Role.AGENT)).text
    answer = await client.get("/agents", headers={"Authorization": f"Bearer {key}"})
    assert answer.json() == ["acme", "desk"]
    assert await status(client, authorization=f"bearer   {key} ") == 200
    assert await status(client, x_api_key=key) == 200
    assert await status(client, authorization=key) == 401
    assert await status(client, authorization=f"Basic {key}") == 401
    assert (await client.get("/agents", params={"key": key, "access_token": key})).status_code == 401


async def test_everything_but_a_good_key_is_refused_alike(client: httpx.AsyncClient, keys: Away) -> None:
    good, revoked, unknown = await add(keys, Role.AGENT), await add(keys, Role.AGENT), new_key()
    assert await keys.revoke(revoked.id)
    forged = f"clk_{good.id}_{unknown.text.rpartition('_')[2]}"
    answers = [
        await client.get("/agents", headers={"X-API-Key": text} if text else {})
        for text in ("", "garbage", "clk_", unknown.text, revoked.text, forged, good.text[:-1], good.text + "x")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"].startswith("Bearer")


async def test_roles_decide(client: httpx.AsyncClient, keys: Away) -> None:
    assert await status(client, x_api_key=(await add(keys, Role.MANAGER, Role.AGENT)).text) == 200
    assert await status(client, x_api_key=(await add(keys, Role.ADMIN)).text) == 200
    refused = await client.get("/agents", headers={"X-API-Key": (await add(keys, Role.CHANNEL)).text})
    assert refused.status_code == 403
    assert "agent" in refused.json()["detail"]


async def test_a_role_that_we_do_not_know_gives_nothing(client: httpx.AsyncClient, keys: Away) -> None:
    key = new_key()
    await keys.add(key_id=key.id, workspace="acme", name="x", roles=["owner"], secret_hash=key.secret_hash)
    assert await status(client, x_api_key=key.text) == 403


async def test_a_revoked_key_works_no_longer_than_the_cache(
    client: httpx.AsyncClient, keys: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await add(keys, Role.AGENT)
    assert await status(client, x_api_key=key.text) == 200
    asked = keys.asked
    assert await status(client, x_api_key=key.text) == 200
    assert keys.asked == asked
    await keys.revoke(key.id)
    monkeypatch.setattr(authentication, "CACHE_SECONDS", 0.0)
    assert await status(client, x_api_key=key.text) == 401


async def test_known_keys_outlive_an_outage_and_do_not_wait_for_it_each_time(
    client: httpx.AsyncClient, keys: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "CACHE_SECONDS", 0.0)
    known, unknown = await add(keys, Role.AGENT), await add(keys, Role.AGENT)
    assert await status(client, x_api_key=known.text) == 200
    keys.away = True
    asked = keys.asked
    assert [await status(client, x_api_key=known.text) for _ in range(5)] == [200] * 5
    assert keys.asked == asked + 1
    assert await status(client, x_api_key=unknown.text) == 503
    forged = f"clk_{known.id}_{unknown.text.rpartition('_')[2]}"
    assert await status(client, x_api_key=forged) == 401
    monkeypatch.setattr(authentication, "OUTAGE_CACHE_SECONDS", 0.0)
    assert await status(client, x_api_key=known.text) == 503


async def test_a_known_key_does_not_wait_for_a_frozen_database_and_a_revoked_one_ends_after_it(
    client: httpx.AsyncClient, keys: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "CACHE_SECONDS", 0.0)
    key = await add(keys, Role.AGENT)
    assert await status(client, x_api_key=key.text) == 200
    await keys.revoke(key.id)
    keys.frozen = asyncio.Event()
    async with asyncio.timeout(5):
        assert await status(client, x_api_key=key.text) == 200
    keys.frozen.set()

    async def refused() -> bool:
        return await status(client, x_api_key=key.text) == 401

    await eventually(refused)


async def test_made_up_ids_do_not_push_out_known_keys(keys: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "_CACHE_LIMIT", 3)
    authenticator = Authenticator(keys)
    known = await add(keys, Role.AGENT)
    await authenticator.authorize(known.text, Role.AGENT)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await authenticator.authorize(new_key().text, Role.AGENT)
    keys.away = True
    assert (await authenticator.authorize(known.text, Role.AGENT)).workspace == "acme"
    keys.away = False
    for _ in range(5):
        await authenticator.authorize((await add(keys, Role.AGENT)).text, Role.AGENT)
    assert len(authenticator._cache) == 3


async def test_a_new_key_works_at_once_although_it_was_tried_before(keys: Away) -> None:
    authenticator = Authenticator(keys)
    key = new_key()
    with pytest.raises(Unauthenticated):
        await authenticator.authorize(key.text, Role.AGENT)
    await keys.add(key_id=key.id, workspace="acme", name="x", roles=["agent"], secret_hash=key.secret_hash)
    assert await authenticator.authorize(key.text, Role.AGENT)


async def test_keys_are_in_no_log_and_no_repr(
    client: httpx.AsyncClient, keys: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("debug", "json")
    try:
        key = await add(keys, Role.CHANNEL)
        for text in (key.text, key.text[:-1] + "0", "clk_nonsense"):
            await client.get("/agents", headers={"X-API-Key": text})
        stored = await keys.find(key.id)
    finally:
        monkeypatch.undo()
        configure_logging("warning", "json")
    secret = key.text.rpartition("_")[2]
    assert secret[:-1] not in stream.getvalue()
    assert stored is not None
    assert key.secret_hash not in repr(stored)


async def test_many_at_once(client: httpx.AsyncClient, keys: Away) -> None:
    key = await add(keys, Role.AGENT)
    assert set(await asyncio.gather(*(status(client, x_api_key=key.text) for _ in range(50)))) == {200}
