"""One member of a Kafka consumer group.

Every rebalance takes all partitions away and gives the new set out (round robin is an eager assignor): `revoked` for
all, then `assigned` for all. Between the two, and until every partition has been sought, a gate is closed: aiokafka
fetches from its own idea of the offsets meanwhile, and what it fetched is dropped (delivery.md T7).
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition as KafkaPartition

from shared.bus.kafka import records as kafka_records
from shared.bus.kafka.client import abandon_consumer, ended_in_time, meet
from shared.bus.port import BusUnavailable, OffsetOutOfRange, RebalanceListener, Record, TopicPartition
from shared.bus.security import PLAIN, Security
from shared.telemetry.logging import get_logger

log = get_logger(__name__)

T = TypeVar("T")
kafka_records.install()

_CONNECT_SECONDS = 12.0
_CALL_SECONDS = 5.0
_STOP_SECONDS = 3.5  # and at most 1.5 s more by force
# Every fetch may hold the largest batch that the broker takes (1 MiB), so that none can block its partition.
_PARTITION_FETCH_BYTES = 1024 * 1024 + 64 * 1024
_FETCH_BYTES = 16 * 1024 * 1024

CLIENT_SETTINGS: dict[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_uncommitted",
    "max_partition_fetch_bytes": _PARTITION_FETCH_BYTES,
    "fetch_max_bytes": _FETCH_BYTES,
    # Idle consumers cost brokers and services half of what 200 ms cost; a seek may stand behind the fetch that waits.
    "fetch_max_wait_ms": 500,
    "request_timeout_ms": 10_000,
}
GROUP_SETTINGS: dict[str, Any] = {
    "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
    "session_timeout_ms": 15_000,
    # A member hears at its next heartbeat that another one waits to join: until then that one does nothing.
    "heartbeat_interval_ms": 1_000,
    "rebalance_timeout_ms": 30_000,
    "max_poll_interval_ms": 120_000,
    "request_timeout_ms": 40_000,  # a join may take as long as a rebalance
    "metadata_max_age_ms": 10_000,  # how soon a topic that is created later is seen
}


class ConsumerBroken(RuntimeError):
    """aiokafka's background work ended; only a new consumer helps, so let the process restart."""


class _Relay(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's callbacks, passed on."""

    def __init__(self, consumer: "KafkaConsumer") -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        await self._consumer.on_revoked()

    async def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        await self._consumer.on_assigned(frozenset(TopicPartition(p.topic, p.partition) for p in assigned))


class KafkaConsumer:
    """port.Consumer over Kafka. In an outage `fetch` returns {} and goes on by itself when it is over."""

    def __init__(
        self,
        servers: Sequence[str],
        group: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        security: Security = PLAIN,
    ) -> None:
        self._security = security
        self._group = group
        self._topics = tuple(topics)
        self._listener = listener
        self._servers = list(servers)
        self._client: Any = None
        self._owned: frozenset[TopicPartition] = frozenset()
        self._paused: set[TopicPartition] = set()
        self._gate = asyncio.Event()  # open while every owned partition stands where `assigned` said
        self._failure: Exception | None = None
        self._pulling: asyncio.Task[None] | None = None
        self._ahead: dict[TopicPartition, list[Any]] = {}  # pulled, not handed out yet

    async def start(self) -> None:
        """Connect; the group is joined in the background, and `fetch` waits for it. Raises BusUnavailable."""
        self._client = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=self._group,
            **(CLIENT_SETTINGS | GROUP_SETTINGS | self._security.options),
        )
        await started(self._client, self._servers)
        self._client.subscribe(self._topics, listener=_Relay(self))

    async def fetch(self, max_records: int, timeout_seconds: float) -> dict[TopicPartition, list[Record]]:
        """The next records; {} after the timeout. Raises what `assigned` raised, OffsetOutOfRange, ConsumerBroken."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        in_time = True  # a timeout of 0 still takes what is there
        while in_time:
            self._raise_failure()
            if records := self._hand_out(max_records):
                return records
            left = max(0.0, deadline - loop.time())
            in_time = left > 0
            if not self._gate.is_set():
                await self._opened(left)
            elif not await self._pulled(max_records, left):
                break
        return self._hand_out(max_records)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at `offset`; a partition that a rebalance has just taken is left alone."""
        if partition in self._owned:
            self._ahead.pop(partition, None)
            self._client.seek(KafkaPartition(*partition), offset)

    def pause(self, partition: TopicPartition) -> None:
        """Hand out nothing of it until `resume` or the next rebalance."""
        if partition in self._owned:
            self._paused.add(partition)
            self._client.pause(KafkaPartition(*partition))

    def resume(self, partition: TopicPartition) -> None:
        """Undo `pause`."""
        if partition in self._owned:
            self._paused.discard(partition)
            self._client.resume(KafkaPartition(*partition))

    def assignment(self) -> frozenset[TopicPartition]:
        """Partitions that are ours now."""
        return self._owned

    async def high_water(self) -> dict[TopicPartition, int]:
        """The end of each owned partition, asked of the broker. Raises BusUnavailable."""
        owned = self._owned
        ends = await answered(self._client.end_offsets([KafkaPartition(*p) for p in owned])) if owned else {}
        return {TopicPartition(p.topic, p.partition): end for p, end in ends.items()}

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """For lag tools only: the consumer never reads them, so a failure is a log line."""
        ours = {KafkaPartition(*p): offset for p, offset in positions.items() if p in self._owned}
        if not ours:
            return
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._client.commit(ours)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("kafka_commit_failed", group=self._group, reason=repr(error))

    async def stop(self) -> None:
        """Leave the group and close; 5 s at most."""
        client, self._client = self._client, None
        if client is None:
            return
        self._gate.clear()
        self._owned = frozenset()
        self._ahead.clear()
        if not await ended_in_time(client.stop(), _STOP_SECONDS):
            await abandon_consumer(client)
        if self._pulling:
            self._pulling.cancel()
            await asyncio.wait({self._pulling})

    # rebalances, called by aiokafka; it only logs what they raise (T14), so it is kept for `fetch`

    async def on_revoked(self) -> None:
        """All partitions go; nothing that was fetched of them may be handed out any more."""
        self._gate.clear()
        self._ahead.clear()
        self._paused.clear()
        lost, self._owned = self._owned, frozenset()
        if lost:
            try:
                await self._listener.revoked(lost)
            except Exception as error:
                self._fail(error)

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Ask where to start, seek, open the gate."""
        if self._client is None:
            return  # stopping
        self._owned = partitions
        try:
            starts = await self._listener.assigned(partitions) if partitions else {}
            if self._client is None:
                return  # stopped meanwhile
            for partition in partitions:
                self._client.seek(KafkaPartition(*partition), starts[partition])
        except Exception as error:
            self._fail(error)
        else:
            self._gate.set()

    def _fail(self, error: Exception) -> None:
        log.error("kafka_rebalance_failed", group=self._group, exc_info=error)
        self._failure = self._failure or error
        self._gate.set()  # wakes `fetch`, which raises it

    # fetching

    async def _opened(self, timeout_seconds: float) -> None:
        """Wait for the gate, no longer than this."""
        # A member that was held up for longer than max_poll_interval has left its group, and aiokafka lets it in again
        # only once it polls (T12). Waiting here counts as that; `getmany` itself would outlast our timeout.
        with self._client._subscription.fetch_context():
            pass
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._gate.wait()

    async def _pulled(self, max_records: int, timeout_seconds: float) -> bool:
        """Whether a pull came to its end in time. It is a task because aiokafka's `getmany` outlasts its timeout while
        the group rebalances, and must not be cancelled: that would switch its max_poll_interval watch off."""
        if self._pulling is None:
            self._pulling = asyncio.get_running_loop().create_task(self._pull(max_records, timeout_seconds))
        pulling = self._pulling
        await asyncio.wait({pulling}, timeout=timeout_seconds + 0.05)
        if not pulling.done():
            return False
        self._pulling = None
        pulling.result()
        return True

    async def _pull(self, max_records: int, timeout_seconds: float) -> None:
        try:
            pulled = await self._client.getmany(timeout_ms=int(timeout_seconds * 1000), max_records=max_records)
        except KafkaError as error:
            if not self._gate.is_set():
                return  # about offsets from before the seek
            if isinstance(error, OffsetOutOfRangeError):
                raise out_of_range(error) from error
            if error.retriable:
                raise BusUnavailable(f"Kafka failed a fetch of group {self._group} ({error!r})") from error
            raise ConsumerBroken(f"the consumer of group {self._group} cannot go on: {error!r}") from error
        # getmany does not suspend after taking records, so the gate says here whether they are from before the seek.
        if self._gate.is_set():
            for partition, records in pulled.items():
                self._ahead[TopicPartition(partition.topic, partition.partition)] = records

    def _hand_out(self, max_records: int) -> dict[TopicPartition, list[Record]]:
        handed: dict[TopicPartition, list[Record]] = {}
        for partition in [p for p in self._ahead if p not in self._paused]:
            records = self._ahead.pop(partition)
            handed[partition] = records[:max_records]
            if rest := records[max_records:]:
                self._ahead[partition] = rest
        return handed

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure
        if self._client is None:
            raise ConsumerBroken(f"the consumer of group {self._group} is not running")
        if self._client._fetcher.error_future.done():  # else every fetch would be empty for ever
            raise ConsumerBroken(f"the fetcher of group {self._group} has ended")


async def started(client: Any, servers: Sequence[str]) -> None:
    """Start an aiokafka consumer. Raises BusUnavailable."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await meet(client._client, client.start())
    except BaseException as error:
        await abandon_consumer(client)
        if isinstance(error, KafkaError | OSError | TimeoutError):
            raise BusUnavailable(f"Kafka at {','.join(servers)} is out of reach ({error!r})") from error
        raise


async def answered(call: Awaitable[T], timeout_seconds: float = _CALL_SECONDS) -> T:
    """What aiokafka answers, in time. Raises BusUnavailable."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await call
    except (KafkaError, OSError, TimeoutError) as error:
        raise BusUnavailable(f"Kafka did not answer ({error!r})") from error


def out_of_range(error: OffsetOutOfRangeError) -> OffsetOutOfRange:
    """aiokafka carries {partition: offset}."""
    ((partition, offset),) = error.args[0].items()
    return OffsetOutOfRange(
        f"offset {offset} of {partition.topic}[{partition.partition}] is not kept any more or not yet there"
    )
