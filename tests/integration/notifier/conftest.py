"""A whole notifier on a real database and bus, a real mail server and a real webhook receiver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from services.notifier.app import build
from services.notifier.config import NotifierSettings
from shared.auth.keys import Role, new_key
from shared.bus import codec
from shared.bus.connect import connect, topics_of
from shared.contracts.assignment_changed import AssignmentChangedV1
from shared.contracts.envelope import Event
from shared.contracts.examples import examples
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.core.clock import utc_now
from shared.core.ids import uuid7
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.http.app import Readiness, create_app
from shared.runtime.component import Service
from tests.support.http_receiver import HttpReceiver, http_receiver
from tests.support.poll import eventually
from tests.support.smtp_receiver import MailReceiver, mail_receiver

WORKSPACE = "lale"
# Every delay of the default plays in the blink of an eye: 3 days become 26 ms.
FAST = 1e-7
SOON = (0.0, 0.02, 0.02, 0.02)


@dataclass
class Notifier:
    """A notifier under test. `publish` goes through the bus; `rows` looks into the table."""

    service: Service
    settings: NotifierSettings
    database: Database
    producer: Any
    mail: MailReceiver
    hook: HttpReceiver
    app: FastAPI

    async def publish(self, *events: Event[Any]) -> None:
        await self.producer.send([codec.encode(event) for event in events])

    async def rows(self, **filters: Any) -> list[Any]:
        where = " and ".join(f"{name} = :{name}" for name in filters) or "true"
        async with self.database.reader() as reader:
            return list(await reader.all(f"select * from followup where {where} order by created_at, id", filters))

    async def row(self, state: str, **filters: Any) -> Any:
        """The one row of `filters`, once it is in `state`."""

        async def found() -> Any:
            rows = await self.rows(**filters)
            assert len(rows) == 1, [(row.play, row.step, row.state, row.reason) for row in rows]
            assert rows[0].state == state, (rows[0].state, rows[0].reason)
            return rows[0]

        return await eventually(found)

    async def attempts(self, followup: UUID) -> list[Any]:
        async with self.database.reader() as reader:
            return list(
                await reader.all("select * from attempt where followup_id = :id order by number", {"id": followup})
            )

    async def execute(self, sql: str, **params: Any) -> None:
        async with self.database.unit_of_work() as uow:
            await uow.execute(sql, params)

    async def changes(self, followup: UUID) -> list[Any]:
        """What was published about a follow-up, in order."""
        bus = connect("postgres", self.settings.database_url)
        found: list[Any] = []
        await bus.start()
        try:
            for partition, (first, end) in (await bus.offsets("followup.changed.v1")).items():
                if end > first:
                    from shared.bus.port import TopicPartition

                    records = await bus.read(TopicPartition("followup.changed.v1", partition), first, 500)
                    found += [codec.decode(record) for record in records]
        finally:
            await bus.stop()
        return [event for event in found if event.data.followup_id == followup]

    @asynccontextmanager
    async def client(self, *roles: Role, workspace: str = WORKSPACE) -> AsyncIterator[httpx.AsyncClient]:
        key = new_key()
        platform = Database(self.settings.database_url, "platform", encode=codec.encode, pool_size=1)
        await ApiKeys(platform).add(
            key_id=key.id,
            workspace=workspace,
            name="Mira",
            roles=[str(role) for role in roles],
            secret_hash=key.secret_hash,
        )
        await platform.stop()
        transport = httpx.ASGITransport(app=self.app)
        headers = {"Authorization": f"Bearer {key.text}"} if roles else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client


@asynccontextmanager
async def running(
    database_url: str, mail: MailReceiver, hook: HttpReceiver, *, only: set[str] | None = None, **overrides: Any
) -> AsyncIterator[Notifier]:
    """A notifier that runs; `only` names the components to run, all by default."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "bus_url": "postgres",
        "smtp_port": mail.port,
        "smtp_sender": "care@lale.example",
        "play_delay_factor": FAST,
        "manager_slack_url": hook.url("/manager-slack"),
        "manager_email": "boss@lale.example",
        "outbound_allow_private": True,
        "delivery_retry_seconds": SOON,
        "delivery_connect_seconds": 1.0,
        "delivery_timeout_seconds": 2.0,
        "delivery_lease_seconds": 8.0,
        "public_url": "https://feedback.lale.example",
        "survey_url": "https://ask.lale.example/?f={feedback_id}",
    }
    settings = NotifierSettings(**(values | overrides))
    service = build(settings)
    bus = connect("postgres", database_url)
    await bus.start()
    await bus.create_topics(topics_of("postgres"))
    producer = bus.producer()
    await producer.start()
    for start in service.start:
        await start()
    parts = [*service.components, *service.feeds]
    components = [part for part in parts if only is None or part.name in only]
    tasks = [asyncio.create_task(part.run(), name=part.name) for part in components]
    app = create_app("notifier", "0", service.routers, Readiness(service.checks))
    database = Database(database_url, "notifier", encode=codec.encode, pool_size=2)
    try:
        yield Notifier(service, settings, database, producer, mail, hook, app)
    finally:
        failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for part in reversed(components):
            await part.stop()
        _, pending = await asyncio.wait(tasks, timeout=10)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for close in reversed(service.close):
            await close()
        await producer.stop()
        await bus.stop()
        await database.stop()
        assert not pending, [task.get_name() for task in pending]
        assert not [error for error in failed if error], failed


@pytest.fixture
async def mail() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as receiver:
        yield receiver


@pytest.fixture
async def hook() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


@pytest.fixture
async def notifier(database_url: str, mail: MailReceiver, hook: HttpReceiver) -> AsyncIterator[Notifier]:
    async with running(database_url, mail, hook) as running_notifier:
        yield running_notifier


def feedback(
    score: int | None = 2,
    *,
    workspace: str = WORKSPACE,
    customer: UUID | None = None,
    feedback_id: UUID | None = None,
    email: str | None = "nora@example.com",
    name: str | None = "Nora Whitfield",
    language: str | None = "en",
    **fields: Any,
) -> Event[FeedbackReceivedV1]:
    """One answer given just now, made from an example."""
    example = next(e for e in examples(FeedbackReceivedV1) if e.data.rating("nps") is not None)
    identifier = feedback_id or uuid7()
    rating = example.data.rating("nps")
    assert rating is not None
    moment = utc_now()
    data = example.data.model_copy(
        update={
            "feedback_id": identifier,
            "revision": 0,
            "customer_id": customer or uuid7(),
            "occurred_at": moment,
            "received_at": moment,
            "language": language,
            "ratings": () if score is None else (rating.model_copy(update={"value": float(score)}),),
            "sensitive": example.data.sensitive.model_copy(update={"email": email, "name": name}),
            **fields,
        }
    )
    return replace(
        example, id=uuid7(), workspace=workspace, correlation_id=identifier, causation_id=None, time=moment, data=data
    )


def case(about: Event[FeedbackReceivedV1], change: str, sequence: int = 1, **fields: Any) -> Event[AssignmentChangedV1]:
    """One change of the case of a feedback."""
    example = next(e for e in examples(AssignmentChangedV1) if e.data.change == "at_risk")
    states = {"answered": "answered", "resolved": "resolved", "queued": "queued"}
    moment = utc_now()
    if change in {"answered", "resolved"}:
        fields = {"first_response_at": moment, **fields}
    data = example.data.model_copy(
        update={
            "assignment_id": UUID(int=about.data.feedback_id.int ^ 1),
            "feedback_id": about.data.feedback_id,
            "customer_id": about.data.customer_id,
            "sequence": sequence,
            "change": change,
            "state": states.get(change, "assigned"),
            "band": about.data.band(),
            "opened_at": moment,
            **fields,
        }
    )
    return replace(
        example,
        id=uuid7(),
        workspace=about.workspace,
        correlation_id=about.correlation_id,
        causation_id=about.id,
        time=moment,
        data=data,
    )
