"""Every example event goes through every consumer that subscribes to its topic: bytes in, effects committed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.ingest.app import build as build_ingest
from services.ingest.config import IngestSettings
from services.notifier.app import build as build_notifier
from services.notifier.config import NotifierSettings
from services.routing.app import build as build_routing
from services.routing.config import RoutingSettings
from services.scoring.app import build as build_scoring
from services.scoring.config import ScoringSettings
from shared.contracts import registry
from shared.contracts.asyncapi import READERS
from shared.contracts.envelope import EventData
from shared.contracts.examples import examples
from shared.core.settings import load
from shared.runtime.component import Service
from shared.runtime.consumer import ConsumerLoop
from tests.support.harness import running, send
from tests.support.poll import eventually

BUILD: dict[str, tuple[Callable[[Any], Service], type[Any]]] = {
    "ingest": (build_ingest, IngestSettings),
    "scoring": (build_scoring, ScoringSettings),
    "routing": (build_routing, RoutingSettings),
    "notifier": (build_notifier, NotifierSettings),
}


@pytest.fixture(params=BUILD)
async def service(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A service on an empty database, connected, its components not started."""
    build, kind = BUILD[request.param]
    service = build(load(kind, database_url=database_url, data_dir=tmp_path))
    for start in service.start:
        await start()
    yield service
    for close in reversed(service.close):
        await close()


async def test_examples_have_their_effects_and_nothing_is_parked(service: Service) -> None:
    loops = [part for part in service.components if isinstance(part, ConsumerLoop)]
    topics = {topic.name for loop in loops for topic in loop._subscription.topics}
    assert topics == _topics_read_by(service.name)
    for loop in loops:
        subscription = loop._subscription
        events = [event for kind in _kinds(subscription.topics) for event in examples(kind)]
        await send(loop._bus, events)
        wanted = {event.id for event in events}

        async def processed(loop: ConsumerLoop = loop, wanted: set[Any] = wanted) -> bool:
            async with loop._database.reader() as reader:
                rows = await reader.all("select event_id from processed_event")
                handled = await reader.scalar("select coalesce(sum(next_offset), 0) from consumer_position")
                parked = await reader.all("select origin, error_class, error from dead_letter")
            assert not parked, parked
            # A handler that claims no ids is through when its positions are.
            return handled == len(wanted) if loop._subscription.raw else wanted <= {row.event_id for row in rows}

        async with running(loop):
            await eventually(processed, timeout=30)


def _kinds(topics: Any) -> list[type[EventData]]:
    return [kind for kind in registry.EVENTS if kind.topic in topics]


def _topics_read_by(service: str) -> set[str]:
    """As the AsyncAPI document says."""
    return {topic.name for topic in READERS.get(service, ())}
