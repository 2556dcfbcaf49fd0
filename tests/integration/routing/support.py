"""Routing as it runs: its components on a real database and bus, its routes in process."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from services.routing.app import build
from services.routing.config import RoutingSettings
from shared.auth.keys import Role, new_key
from shared.bus import codec
from shared.bus.connect import topics_of
from shared.bus.port import TopicPartition
from shared.bus.postgres import PostgresBus
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1, Rating, Survey
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.contracts.topics import ASSIGNMENT_CHANGED, FEEDBACK_ROUTED, Topic
from shared.core.ids import external_event_id, name_id
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.http.app import Readiness, create_app
from shared.runtime.component import Service
from tests.support.poll import eventually

TEAMS: dict[str, Any] = {
    "teams": [
        {"id": "care", "departments": ["support"], "default": True},
        {"id": "sales", "departments": ["sales"]},
    ],
    "members": [
        {"id": "deniz", "name": "Deniz", "teams": ["care"], "languages": ["en", "tr"], "capacity": 2},
        {"id": "farah", "name": "Farah", "teams": ["care"], "languages": ["fa", "en"], "capacity": 2},
        {"id": "omid", "name": "Omid", "email": "omid@example.com", "teams": ["sales"], "languages": ["en"]},
    ],
}
COMPLAINTS = {
    "en": "My parcel never arrived and nobody answers my e-mails. I want my money back!",
    "tr": "Siparişim hâlâ gelmedi, müşteri hizmetlerine ulaşamıyorum. Paramı geri istiyorum!",
    "fa": "سفارش من هنوز نرسیده و هیچ‌کس جواب نمی‌دهد. پولم را پس بدهید!",
}


def message(
    n: int | str, text: str | None = COMPLAINTS["en"], *, workspace: str = "acme", **more: Any
) -> Event[FeedbackReceivedV1]:
    """A message event; the same `n` and revision is the same event."""
    now = datetime.now(UTC)
    revision = more.pop("revision", 0)
    data = FeedbackReceivedV1(
        **{
            "feedback_id": name_id("feedback", workspace, str(n)),
            "revision": revision,
            "kind": "message",
            "occurred_at": now,
            "received_at": now,
            "source": "test",
            "connector": "test",
            "channel": "email",
            "sensitive": {"text": text, "name": "Kim Example"},
            **more,
        }
    )
    event_id = external_event_id(workspace, "test", str(n), revision)
    return Event(event_id, "closeloop/ingest", now, workspace, data.feedback_id, None, data)


def answer(n: int | str, value: int, text: str | None = None, **more: Any) -> Event[FeedbackReceivedV1]:
    """An NPS answer."""
    rating = Rating(metric="nps", value=value, scale_min=0, scale_max=10, formula="nps")
    survey = Survey(id="s1", type="transactional")
    return message(n, text, kind="survey_response", survey=survey, ratings=(rating,), **more)


@dataclass
class World:
    """A running service and everything a test asks of it."""

    service: Service
    client: httpx.AsyncClient
    bus: PostgresBus
    database: Database
    _keys: ApiKeys
    _known: dict[tuple[str, str], str] = field(default_factory=dict)

    async def publish(self, *events: Event[Any]) -> None:
        producer = self.bus.producer()
        await producer.start()
        try:
            await producer.send([codec.encode(event) for event in events])
        finally:
            await producer.stop()

    async def seen(self, topic: Topic) -> list[Event[Any]]:
        """All events of a topic, in the order of each partition."""
        found = []
        for partition, (first, end) in sorted((await self.bus.offsets(topic.name)).items()):
            if end > first:
                records = await self.bus.read(TopicPartition(topic.name, partition), first, end - first)
                found += [codec.decode(record) for record in records]
        return found

    async def routed(self, count: int) -> list[Event[FeedbackRoutedV1]]:
        """Tags, once there are `count`."""

        async def enough() -> list[Event[FeedbackRoutedV1]]:
            events = await self.seen(FEEDBACK_ROUTED)
            return events if len(events) >= count else []

        return await eventually(enough)

    async def changes(self, count: int) -> list[AssignmentChangedV1]:
        """Changes, once there are `count`."""

        async def enough() -> list[Event[AssignmentChangedV1]]:
            events = await self.seen(ASSIGNMENT_CHANGED)
            return events if len(events) >= count else []

        return [event.data for event in await eventually(enough)]

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str = "boss", workspace: str = "acme", **more: Any
    ) -> httpx.Response:
        """A request with the key called `key`: a manager's if `boss`, else an agent's."""
        token = await self.key(key, workspace)
        headers = {"authorization": f"Bearer {token}", **more.pop("headers", {})}
        return await self.client.request(method, path, json=body, headers=headers, **more)

    async def key(self, name: str, workspace: str = "acme", role: Role | None = None) -> str:
        if (name, workspace) not in self._known:
            made = new_key()
            chosen = role or (Role.MANAGER if name == "boss" else Role.AGENT)
            await self._keys.add(
                key_id=made.id, workspace=workspace, name=name, roles=[chosen], secret_hash=made.secret_hash
            )
            self._known[name, workspace] = made.text
        return self._known[name, workspace]

    async def teams(self, document: Mapping[str, Any] = TEAMS, workspace: str = "acme") -> None:
        put = await self.call("PUT", "/v1/teams", dict(document), workspace=workspace)
        assert put.status_code == 200, put.text

    async def act(self, identifier: UUID | str, action: str, body: Any = None, *, key: str = "boss") -> httpx.Response:
        return await self.call("POST", f"/v1/assignments/{identifier}/{action}", body, key=key)

    async def show(self, identifier: UUID | str) -> dict[str, Any]:
        found = await self.call("GET", f"/v1/assignments/{identifier}")
        assert found.status_code == 200, found.text
        return dict(found.json())


@asynccontextmanager
async def running(url: str, **settings: Any) -> AsyncIterator[World]:
    """The service with all its components; ended clean."""
    service = build(RoutingSettings(**{"database_url": url, "queue_tick_seconds": 0.2, "_env_file": None, **settings}))
    for start in service.start:
        await start()
    tasks = [asyncio.create_task(part.run(), name=part.name) for part in (*service.components, *service.feeds)]
    bus, platform, database = (
        PostgresBus(url),
        Database(url, "platform", encode=codec.encode),
        Database(url, "routing", encode=codec.encode),
    )
    await bus.start()
    await bus.create_topics(topics_of("postgres"))
    app = create_app("routing", "test", service.routers, Readiness(service.checks))
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            yield World(service, client, bus, database, ApiKeys(platform))
        assert [task.get_name() for task in tasks if task.done()] == []
    finally:
        for part in reversed((*service.components, *service.feeds)):
            await part.stop()
        await asyncio.wait(tasks, timeout=10)
        await bus.stop()
        for each in (platform, database):
            await each.stop()
        for close in reversed(service.close):
            await close()
    for task in tasks:
        task.result()


def by_feedback(changes: Sequence[AssignmentChangedV1]) -> dict[UUID, list[AssignmentChangedV1]]:
    """Feedback → its changes in order."""
    found: dict[UUID, list[AssignmentChangedV1]] = {}
    for change in changes:
        found.setdefault(change.feedback_id, []).append(change)
    return {key: sorted(value, key=lambda change: change.sequence) for key, value in found.items()}
