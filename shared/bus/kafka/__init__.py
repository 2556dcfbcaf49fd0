"""The bus over Apache Kafka through aiokafka: `kafka://host:port[,host:port…]`."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from aiokafka.structs import TopicPartition as KafkaPartition

from shared.bus.kafka.client import abandon_admin, abandon_consumer, ended_in_time, meet
from shared.bus.kafka.consumer import CLIENT_SETTINGS, KafkaConsumer, answered, started
from shared.bus.kafka.producer import KafkaProducer
from shared.bus.kafka.topics import broker_count, change, new_topic, shape_of, shapes
from shared.bus.plan import Action, Shape, Step, plan, refuse_blocked
from shared.bus.port import BusUnavailable, RebalanceListener, Record, TopicPartition
from shared.bus.security import PLAIN, Security
from shared.contracts.topics import Topic
from shared.core.errors import Conflict, NotFound
from shared.core.settings import SettingsError

_SCHEME = "kafka://"
_CONNECT_SECONDS = 12.0
_STOP_SECONDS = 1.0
_READ_SECONDS = 10.0
_CREATE_SECONDS = 30.0  # hundreds of logs on brokers that have just come up
_SPREAD_SECONDS = 30.0  # until every partition of a new topic has a leader that the brokers know
_SPREAD_POLL_SECONDS = 0.05


class KafkaBus:
    """port.Bus over Kafka."""

    def __init__(self, url: str, security: Security = PLAIN) -> None:
        """Raises SettingsError for a URL without brokers."""
        self._servers = servers_of(url)
        self._security = security
        self._admin: Any = None
        self._asker: Any = None  # asks for offsets; never has a partition, so it knows every topic
        self._reader: Any = None  # reads one partition at a time, from the first `read` on
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Raises BusUnavailable."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._servers, request_timeout_ms=10_000, **self._security.options
        )
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await meet(admin._client, admin.start())
        except BaseException as error:
            await abandon_admin(admin)
            if isinstance(error, KafkaError | OSError | TimeoutError):
                hint = "; if it runs, see to KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_… and KAFKA_CA_FILE"
                raise BusUnavailable(
                    f"Kafka at {','.join(self._servers)} is out of reach ({error!r})"
                    f"{hint if self._security.options else ''}"
                ) from error
            raise
        self._admin = admin
        self._asker = AIOKafkaConsumer(
            bootstrap_servers=self._servers, group_id=None, **CLIENT_SETTINGS, **self._security.options
        )
        await started(self._asker, self._servers)

    async def stop(self) -> None:
        """Close; 6 s at most, with Kafka away too."""
        admin, self._admin = self._admin, None
        if admin and not await ended_in_time(admin.close(), _STOP_SECONDS):
            await abandon_admin(admin)
        for name in ("_asker", "_reader"):
            client = getattr(self, name)
            setattr(self, name, None)
            if client and not await ended_in_time(client.stop(), _STOP_SECONDS):
                await abandon_consumer(client)

    def producer(self) -> KafkaProducer:
        """A producer, not started."""
        return KafkaProducer(self._servers, self._security)

    def consumer(self, group: str, topics: Sequence[str], listener: RebalanceListener) -> KafkaConsumer:
        """A member of `group`, not started."""
        return KafkaConsumer(self._servers, group, topics, listener, self._security)

    async def create_topics(self, topics: Sequence[Topic]) -> None:
        """Create what is missing, on three brokers where there are three. Raises Conflict, BusUnavailable."""
        there = await self._partition_counts([topic.name for topic in topics]) if topics else {}
        if missing := [topic for topic in topics if topic.name not in there]:
            brokers = await broker_count(self._connected(self._admin))
            there |= await self._create([shape_of(topic, brokers) for topic in missing])
        for topic in topics:
            if there[topic.name] != topic.partitions:
                raise Conflict(
                    f"the topic {topic.name} has {there[topic.name]} partitions, not {topic.partitions}; "
                    "the order of a customer's events rests on the count, so it never changes"
                )

    async def plan_topics(self, topics: Sequence[Topic], brokers: int = 1) -> tuple[Step, ...]:
        """What `apply_topics` would do. Raises BusUnavailable, also when fewer than `brokers` are there."""
        admin = self._connected(self._admin)
        known = await broker_count(admin)
        if known < brokers:
            raise BusUnavailable(f"{known} of {brokers} brokers are there; topics made now would have too few replicas")
        there = await shapes(admin, [topic.name for topic in topics])
        return plan([shape_of(topic, known) for topic in topics], there)

    async def apply_topics(self, steps: Sequence[Step]) -> None:
        """Create and change what a plan says. Raises Conflict for a plan with a refusal, BusUnavailable."""
        refuse_blocked(steps)
        new = [step.wanted for step in steps if step.action is Action.CREATE]
        if new:
            await self._create(new)
        for step in steps:
            if step.action is Action.CHANGE:
                await change(self._connected(self._admin), step.wanted)

    async def offsets(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition → (first offset kept, offset of the next record). Raises NotFound, BusUnavailable."""
        counts = await self._partition_counts([topic])
        if topic not in counts:
            raise NotFound(f"the topic {topic!r} does not exist; create it first")
        return await self._bounds([KafkaPartition(topic, n) for n in range(counts[topic])])

    async def read(self, partition: TopicPartition, offset: int, max_records: int) -> list[Record]:
        """Up to `max_records`, from `offset` or the first kept one; [] at the end. Raises NotFound, BusUnavailable."""
        wanted = KafkaPartition(*partition)
        if partition.partition >= (await self._partition_counts([partition.topic])).get(partition.topic, 0):
            raise NotFound(f"{partition.topic} has no partition {partition.partition}")
        first, end = (await self._bounds([wanted]))[partition.partition]
        start = max(first, offset)
        if start >= end or max_records < 1:
            return []
        async with self._reading:
            return await answered(self._read(wanted, start, min(max_records, end - start)), _READ_SECONDS)

    async def _read(self, partition: KafkaPartition, offset: int, count: int) -> list[Record]:
        if self._reader is None:
            # A short wait, because the reader's next request stands behind its last one.
            settings = CLIENT_SETTINGS | {"fetch_max_wait_ms": 50} | self._security.options
            reader = AIOKafkaConsumer(bootstrap_servers=self._servers, group_id=None, **settings)
            await started(reader, self._servers)
            self._reader = reader
        reader = self._reader
        if reader.assignment() != {partition}:
            reader.assign([partition])
            reader.seek(partition, offset)
        elif await reader.position(partition) != offset:
            reader.seek(partition, offset)
        reader.resume(partition)
        records: list[Record] = []
        try:
            while len(records) < count:
                pulled = await reader.getmany(timeout_ms=1000, max_records=count - len(records))
                records += pulled.get(partition, ())
        finally:
            reader.pause(partition)  # nothing is fetched ahead for nobody
        return records

    async def _bounds(self, partitions: Sequence[KafkaPartition]) -> dict[int, tuple[int, int]]:
        asker = self._connected(self._asker)
        firsts, ends = await answered(
            asyncio.gather(asker.beginning_offsets(partitions), asker.end_offsets(partitions))
        )
        return {p.partition: (firsts[p], ends[p]) for p in partitions}

    async def _partition_counts(self, names: Sequence[str]) -> dict[str, int]:
        """How many partitions each topic has; those that do not exist are left out."""
        described = await answered(self._connected(self._admin).describe_topics(list(names)))
        return {
            topic["topic"]: len(topic["partitions"])
            for topic in described
            if for_code(topic["error_code"]) is not UnknownTopicOrPartitionError
        }

    async def _create(self, missing: Sequence[Shape]) -> dict[str, int]:
        creating = self._admin.create_topics([new_topic(shape) for shape in missing])
        response = await answered(creating, _CREATE_SECONDS)
        for name, code, *message in response.topic_errors:
            if for_code(code) not in (NoError, TopicAlreadyExistsError):
                raise BusUnavailable(f"Kafka did not create {name}: {for_code(code).__name__} {message}")
        return await self._spread({shape.name for shape in missing})

    async def _spread(self, names: set[str]) -> dict[str, int]:
        """Wait until new topics are known with all partitions led: whoever sends next must not stumble."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SPREAD_SECONDS
        while loop.time() < deadline:
            # A busy broker answers late or names a leader that does not know of it yet: neither is the end of it.
            with suppress(BusUnavailable):
                if counts := await self._led(names):
                    return counts
            await asyncio.sleep(_SPREAD_POLL_SECONDS)
        raise BusUnavailable(f"the new topics {', '.join(sorted(names))} have no leaders yet")

    async def _led(self, names: set[str]) -> dict[str, int]:
        """How many partitions each topic has; {} while one of them has no leader. Raises BusUnavailable."""
        described = await answered(self._admin.describe_topics(list(names)))
        if not all(topic["partitions"] and all(p["leader"] >= 0 for p in topic["partitions"]) for topic in described):
            return {}
        counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
        # A leader is named before it has opened its log; this asks it until it has.
        await self._bounds([KafkaPartition(name, n) for name, count in counts.items() for n in range(count)])
        return counts

    def _connected(self, client: Any) -> Any:
        if client is None:
            raise BusUnavailable("the Kafka bus is not started, or stopped")
        return client


def servers_of(url: str) -> list[str]:
    """kafka://a:9092,b:9092 → ["a:9092", "b:9092"]. Raises SettingsError."""
    servers = url.removeprefix(_SCHEME).rstrip("/").split(",")
    if not url.startswith(_SCHEME) or not all(well_formed(server) for server in servers):
        raise SettingsError(f"BUS_URL: {url!r} is not of the form kafka://host:port[,host:port…]")
    return servers


def well_formed(server: str) -> bool:
    """host:port, no more."""
    host, _, port = server.rpartition(":")
    return bool(host) and not set(host) & set("/@ ") and port.isdigit()
