"""The demo from empty folder to busy brand: key, team, sources, history, then live traffic and agents."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from services.ingest.admin import SourceAdmin
from services.ingest.cipher import cipher_of
from services.ingest.config import IngestSettings
from services.node.demo.addresses import ByPath
from services.node.demo.agents import Agents
from services.node.demo.brand import WORKSPACE, Customer, customers
from services.node.demo.history import ANSWERS_A_DAY, DAYS, history, invitations
from services.node.demo.traffic import FORM_SETTINGS, FORUM_SETTINGS, SHOP_SETTINGS, Traffic
from services.node.first_key import make_key
from shared.auth.keys import Role
from shared.bus import codec
from shared.core.clock import utc_now
from shared.core.errors import CloseloopError
from shared.core.settings import load
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.runtime.component import Component
from shared.runtime.patience import pause

_TEAMS = (Path(__file__).parent / "teams.yaml").read_text(encoding="utf-8")
_INVITATIONS_AT_ONCE = 500
_SEED = 1402
_CUSTOMERS = 900
_KEY_NAME = "demo"
_SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "shop": ("generic", SHOP_SETTINGS),
    "form": ("typeform", FORM_SETTINGS),
    "forum": ("discourse", FORUM_SETTINGS),
}
Say = Callable[[str], None]


class Director:
    """Drives the demo against a running node or cluster, over HTTP like everybody else. A component."""

    name = "demo"

    def __init__(self, addresses: Sequence[str], database_url: str, say: Say, data_dir: Path | None = None) -> None:
        """`addresses`: of the node, or of every service of a cluster; `data_dir` if it is not that of the settings."""
        self._addresses = tuple(addresses)
        self._url = database_url
        self._say = say
        self._data_dir = data_dir
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Prepare what is missing, then play until `stop`; a node that goes away is waited for."""
        while not self._stopping.is_set():
            try:
                await self._play()
            except httpx.TransportError:
                await pause(1.0, self._stopping)

    async def _play(self) -> None:
        key = await self._new_key()
        await self._wait_until_ready()
        by_path = ByPath(self._addresses) if len(self._addresses) > 1 else None
        if by_path:
            await by_path.learn()
        async with httpx.AsyncClient(
            base_url=self._addresses[0],
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(10, read=120),
            trust_env=False,
            transport=by_path,
        ) as client:
            people = customers(_CUSTOMERS, _SEED)
            sources = await self._prepare(client)
            await self._import_history(client, people)
            has_page = (await client.get("/")).is_success
            self._say(f"the demo plays: {f'open {self._addresses[0]}/#key={key}' if has_page else f'key {key}'}")
            parts: list[Component] = [Traffic(client, sources, people), Agents(client)]
            tasks = [asyncio.create_task(part.run(), name=part.name) for part in parts]
            try:
                await asyncio.wait([asyncio.create_task(self._stopping.wait()), *tasks], return_when="FIRST_COMPLETED")
            finally:
                for part in parts:
                    await part.stop()
            await asyncio.gather(*tasks)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _new_key(self) -> str:
        """A key of this run; those of earlier runs end, because nobody can know them any more."""
        database = Database(self._url, "platform", encode=codec.encode, pool_size=1)
        try:
            keys = ApiKeys(database)
            for old in await keys.list(WORKSPACE):
                if old.name == _KEY_NAME and old.revoked_at is None:
                    await keys.revoke(old.id)
            return await make_key(keys, WORKSPACE, _KEY_NAME, (Role.ADMIN,))
        finally:
            await database.stop()

    async def _wait_until_ready(self) -> None:
        waiting = list(self._addresses)
        async with httpx.AsyncClient(trust_env=False) as client:
            while waiting and not self._stopping.is_set():
                try:
                    if (await client.get(f"{waiting[0]}/readyz")).is_success:
                        waiting.pop(0)
                        continue
                except httpx.TransportError:
                    pass  # the port opens with the node; we are started beside it
                await asyncio.sleep(0.05)

    async def _prepare(self, client: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
        """The team, and name → (path, secret) of the sources; secrets of an earlier run are rotated."""
        response = await client.put("/v1/teams", content=_TEAMS, headers={"content-type": "application/yaml"})
        if not response.is_success:
            raise CloseloopError(f"the demo's team was refused: {response.text[:500]}")
        settings = load(IngestSettings, **({"data_dir": self._data_dir} if self._data_dir else {}))
        database = Database(self._url, "ingest", encode=codec.encode, pool_size=1)
        try:
            admin = SourceAdmin(database, cipher_of(settings.secrets_key, settings.data_dir))
            there = {view.name for view in await admin.list(WORKSPACE)}
            made = {}
            for name, (connector, options) in _SOURCES.items():
                if name in there:
                    source = await admin.rotate(WORKSPACE, name)
                else:
                    source = await admin.add(WORKSPACE, name, connector, options)
                made[name] = (source.path, source.secret)
            return made
        finally:
            await database.stop()

    async def _import_history(self, client: httpx.AsyncClient, people: list[Customer]) -> None:
        wanted: dict[str, str | int] = {"metric": "nps", "window": "90d", "by": "all", "limit": 1}
        scores = (await client.get("/v1/scores", params=wanted)).json()["items"]
        if scores and scores[0]["n"] >= DAYS * ANSWERS_A_DAY:
            self._say("the data of the last run is still there")
            return
        self._say("importing 60 days of history …")
        response = await client.post(
            "/v1/feedback/import",
            content=_lines(people),
            headers={"content-type": "application/x-ndjson"},
        )
        if not response.is_success or response.json()["refused"]:
            raise CloseloopError(f"the demo's history was refused: {response.text[:500]}")
        asked = list(invitations(utc_now(), people, _SEED))
        for first in range(0, len(asked), _INVITATIONS_AT_ONCE):
            some = await client.post("/v1/invitations", json=asked[first : first + _INVITATIONS_AT_ONCE])
            if not some.is_success:
                raise CloseloopError(f"the demo's invitations were refused: {some.text[:500]}")
        self._say(f"{response.json()['accepted']:,} answers and {len(asked):,} invitations imported")


async def _lines(people: list[Customer]) -> AsyncIterator[bytes]:
    chunk: list[bytes] = []
    for line in history(utc_now(), people, _SEED):
        chunk.append(line)
        if len(chunk) == 100:
            yield b"".join(chunk)
            chunk = []
            await asyncio.sleep(0)
    yield b"".join(chunk)
