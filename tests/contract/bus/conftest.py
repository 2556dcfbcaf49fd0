"""The suite's fixtures: every test runs on both buses, under names of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from shared.bus.connect import connect
from shared.bus.port import Bus, Producer
from tests.support.bus import BusFactory, producing, started


@dataclass(frozen=True)
class Factory:
    """`url` is for BUS_URL; `database_url` is empty for Kafka."""

    kind: str
    url: str
    database_url: str

    def __call__(self) -> Bus:
        return connect(self.url, self.database_url)


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus_factory(request: pytest.FixtureRequest) -> Factory:
    """Makes connections to the bus of this run."""
    if request.param == "kafka":
        return Factory("kafka", f"kafka://{request.getfixturevalue('kafka_bootstrap')}", "")
    return Factory("postgres", "postgres", request.getfixturevalue("database_url"))


@pytest.fixture
async def bus(bus_factory: BusFactory) -> AsyncIterator[Bus]:
    """A started bus."""
    async with started(bus_factory()) as one:
        yield one


@pytest.fixture
async def producer(bus: Bus) -> AsyncIterator[Producer]:
    """A started producer."""
    async with producing(bus) as one:
        yield one


@pytest.fixture
def name() -> str:
    """For a topic or a group: nobody else has it."""
    return f"test.{uuid4().hex}"
