"""A service's shared parts on a real database and bus, without a service: what tests of the runtime stand on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.bus import Bus, codec
from shared.bus.connect import connect
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1, Rating, SensitiveFeedback, Survey
from shared.contracts.topics import TOPICS, Topic
from shared.core.ids import external_event_id, name_id
from shared.db import runtime_tables
from shared.db.database import API_ROLE, Database
from shared.runtime.component import Component

SCHEMA = "runtime_test"


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    """A Database on a schema of its own with the runtime's tables, and a table `effect` for handlers to write to."""
    made = Database(url, SCHEMA, encode=codec.encode)
    statements = [f"create schema if not exists {SCHEMA}", f"grant usage on schema {SCHEMA} to {API_ROLE}"]
    statements.append("create table effect (n serial, event_id uuid)")
    runtime_tables.create(statements.append)
    async with made.unit_of_work() as uow:
        for statement in statements:
            await uow.execute(statement)
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def started_bus(url: str, bus_url: str = "postgres", topics: Sequence[Topic] = TOPICS) -> AsyncIterator[Bus]:
    """A bus with all topics; beside a composed service give `topics_of(bus_url)`, as the service does."""
    bus = connect(bus_url, url)
    await bus.start()
    try:
        await bus.create_topics(topics)
        yield bus
    finally:
        await bus.stop()


@asynccontextmanager
async def running(*components: Component) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Run components for the length of the block; an error of one of them is raised at its end."""
    tasks = [asyncio.create_task(component.run(), name=component.name) for component in components]
    try:
        yield tasks
    finally:
        for component in reversed(components):
            await component.stop()
        _, late = await asyncio.wait(tasks, timeout=15)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not late, f"did not stop: {[task.get_name() for task in late]}"
    for task in tasks:
        task.result()


async def send(bus: Bus, events: Sequence[Event[Any]]) -> None:
    """Publish events straight to the bus."""
    producer = bus.producer()
    await producer.start()
    try:
        await producer.send([codec.encode(event) for event in events])
    finally:
        await producer.stop()


def feedback(
    n: int, *, customer: str | None = None, score: int = 9, revision: int = 0, workspace: str = "acme", **fields: Any
) -> Event[FeedbackReceivedV1]:
    """A survey answer that is the n-th of its kind: the same arguments are the same event."""
    moment = datetime.now(UTC)
    data = FeedbackReceivedV1(
        **{
            "feedback_id": name_id("feedback", workspace, "test", str(n)),
            "revision": revision,
            "kind": "survey_response",
            "occurred_at": moment,
            "received_at": moment,
            "source": "test",
            "connector": "test",
            "channel": "email",
            "touchpoint": "post_purchase",
            "survey": Survey(id="s1", type="transactional"),
            "ratings": (Rating(metric="nps", value=score, scale_min=0, scale_max=10, formula="nps"),),
            "customer_id": name_id("customer", workspace, customer) if customer else None,
            "sensitive": SensitiveFeedback(text="fine"),
            **fields,
        }
    )
    event_id = external_event_id(workspace, "test", str(n), revision)
    return Event(event_id, "closeloop/ingest", moment, workspace, data.feedback_id, None, data)


async def effects(made: Database) -> list[UUID]:
    """Event ids in the order in which their effects were committed."""
    async with made.reader() as reader:
        return [row.event_id for row in await reader.all("select event_id from effect order by n")]
