"""A Kafka bus, its producer and a topic for every test of this folder."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.bus.kafka import KafkaBus
from shared.bus.kafka.producer import KafkaProducer
from tests.support.bus import new_topic


@pytest.fixture
def bootstrap(kafka_bootstrap: str) -> str:
    """Where the broker is; a file that breaks its broker brings one of its own."""
    return kafka_bootstrap


@pytest.fixture
async def bus(bootstrap: str) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(f"kafka://{bootstrap}")
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
async def producer(bus: KafkaBus) -> AsyncIterator[KafkaProducer]:
    producer = bus.producer()
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
async def topic(bus: KafkaBus) -> str:
    """A new topic with one partition."""
    return await new_topic(bus, f"test.{uuid4()}", 1)
