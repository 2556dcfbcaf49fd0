"""The bus as a log in PostgreSQL: the single node's bus. Kafka's meaning, no more (shared/bus/port.py)."""

import asyncio
from collections.abc import Sequence

from shared.bus.plan import Action, Shape, Step, plan, refuse_blocked
from shared.bus.port import BusUnavailable, Consumer, Producer, RebalanceListener, Record, TopicPartition
from shared.bus.postgres.groups import PostgresConsumer
from shared.bus.postgres.link import Link, ended
from shared.bus.postgres.log import Catalog, Position, read
from shared.bus.postgres.producer import PostgresProducer
from shared.contracts.topics import Topic
from shared.core.errors import Conflict, NotFound
from shared.telemetry.logging import get_logger

_RETENTION_SECONDS = 3600.0
_EXPIRE_RECORDS = 2_000  # a piece is one short transaction

_CREATE_TOPIC = """
with created as (
    insert into bus.topic as t (name, partitions, retention_days) values ($1, $2, $3)
    on conflict (name) do update set retention_days = excluded.retention_days
    returning t.name, t.partitions
), filled as (
    insert into bus.partition (topic, partition)
    select name, number from created, generate_series(0, partitions - 1) number
    on conflict do nothing
)
select partitions from created
"""
_TOPICS = "select name, partitions, retention_days from bus.topic where name = any ($1::text[])"
_DAYS = "retention.days"
_OFFSETS = "select partition, first_offset, next_offset from bus.partition where topic = $1"
_EXPIRING = """
select p.id, clock_timestamp() - make_interval(days => t.retention_days) as before
from bus.partition p join bus.topic t on t.name = p.topic where p.next_offset > p.first_offset order by p.id
"""
__all__ = ["PostgresBus"]

_log = get_logger(__name__)


class PostgresBus:
    """See port.Bus. Needs the `bus` schema (shared/db/migrate.py)."""

    def __init__(self, url: str) -> None:
        self._link = Link(url)
        self._catalog = Catalog(self._link, {})
        self._retention: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See port.Bus. Raises CloseloopError where the schema is missing."""
        await self._link.open()
        if self._retention is None:
            self._retention = asyncio.create_task(self._expire_forever(), name="bus retention")

    async def create_topics(self, topics: Sequence[Topic]) -> None:
        """See port.Bus. Raises Conflict for another partition count; a changed retention is taken over."""
        for topic in topics:
            rows = await self._link.fetch(_CREATE_TOPIC, topic.name, topic.partitions, topic.retention_days)
            if rows[0]["partitions"] != topic.partitions:
                raise Conflict(
                    f"{topic.name} has {rows[0]['partitions']} partitions, not {topic.partitions}; "
                    "the count never changes, because the order per key rests on it"
                )

    async def plan_topics(self, topics: Sequence[Topic], brokers: int = 1) -> tuple[Step, ...]:
        """See port.Bus. The one server keeps one copy, however many brokers are asked for."""
        rows = await self._link.fetch(_TOPICS, [topic.name for topic in topics])
        there = {name: Shape(name, partitions, 1, _settings(days)) for name, partitions, days in rows}
        return plan([Shape(t.name, t.partitions, 1, _settings(t.retention_days)) for t in topics], there)

    async def apply_topics(self, steps: Sequence[Step]) -> None:
        """See port.Bus."""
        refuse_blocked(steps)
        for step in steps:
            if step.action is not Action.KEEP:
                shape = step.wanted
                await self._link.fetch(_CREATE_TOPIC, shape.name, shape.partitions, int(shape.settings[_DAYS]))

    def producer(self) -> Producer:
        """See port.Bus."""
        return PostgresProducer(self._link, self._catalog)

    def consumer(self, group: str, topics: Sequence[str], listener: RebalanceListener) -> Consumer:
        """See port.Bus."""
        return PostgresConsumer(self._link, self._catalog, group, topics, listener)

    async def offsets(self, topic: str) -> dict[int, tuple[int, int]]:
        """See port.Bus. Raises NotFound for an unknown topic."""
        rows = await self._link.fetch(_OFFSETS, topic)
        if not rows:
            raise NotFound(f"the topic {topic!r} does not exist")
        return {number: (first, after_last) for number, first, after_last in rows}

    async def read(self, partition: TopicPartition, offset: int, max_records: int) -> list[Record]:
        """See port.Bus. May return less than there is (a few megabytes), but at least one record before the end."""
        id_ = await self._catalog.id(partition)
        first, after_last = (await self.offsets(partition.topic))[partition.partition]
        if offset >= after_last:
            return []
        position = Position(id_, partition, max(first, offset))
        return (await read(self._link, [position], max_records)).get(partition, [])

    async def stop(self) -> None:
        """See port.Bus."""
        if self._retention is not None:
            await ended(self._retention)
            self._retention = None
        await self._link.close()

    async def expire(self) -> int:
        """Delete what is older than its topic's retention; how many records. Raises BusUnavailable."""
        deleted = 0
        for id_, before in await self._link.fetch(_EXPIRING):
            piece = 1
            while piece:
                rows = await self._link.fetch("select bus.expire($1, $2, $3)", id_, before, _EXPIRE_RECORDS)
                piece = rows[0][0]
                deleted += piece
        return deleted

    async def _expire_forever(self) -> None:
        while True:
            await asyncio.sleep(_RETENTION_SECONDS)
            try:
                deleted = await self.expire()
                _log.info("bus_records_expired", records=deleted)
            except BusUnavailable as error:
                _log.warning("bus_expire_failed", reason=error.detail)


def _settings(retention_days: int) -> dict[str, str]:
    return {_DAYS: str(retention_days)}
