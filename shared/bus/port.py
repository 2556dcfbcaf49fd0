"""The bus as services see it: topics, partitions by key hash, contiguous offsets, consumer groups, replay.

Two implementations with one meaning, held to it by one suite (tests/contract/bus): `PostgresBus` and `KafkaBus`.
Delivery is at least once; the effects become exactly-once in the consumer's own database (shared/runtime/consumer.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol

import msgspec

from shared.bus.headers import PackedHeaders
from shared.bus.heading import Heading, heading_of
from shared.bus.plan import Step
from shared.contracts.topics import Topic
from shared.core.errors import CloseloopError, TooLarge, Unavailable

# The application's limit: below the broker's 1 MiB, so that the broker is never the one to refuse (a refused batch
# takes all its messages with it; delivery.md T1).
MESSAGE_LIMIT_BYTES = 512 * 1024

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Message(msgspec.Struct, frozen=True, gc=False):
    """What is sent: `key` decides the partition, headers keep their order and bytes. A struct: a tuple with names takes
    five times as long to make."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers | PackedHeaders = ()
    size: int = 0
    """What `message_size` finds, where the maker knows it already."""


class Record(Protocol):
    """What is read. Offsets of a partition are contiguous, from 0, in the order in which appends became durable.

    A protocol, because Kafka's client has made an object of each record already, and making another costs as much as
    decoding it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def heading(self) -> Heading | None:
        """What `heading_of(headers)` is; records of a large batch know it without their headers being read."""
        ...


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A record that no client has made."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers

    @property
    def heading(self) -> Heading | None:
        """Type and workspace, where the headers are as codec.encode writes them."""
        return heading_of(self.headers)


class MessageTooLarge(TooLarge):
    """The message is over MESSAGE_LIMIT_BYTES (key, value and headers together); nothing of the call was sent."""


class BusUnavailable(Unavailable):
    """The bus did not confirm in time. Whether the messages were written is unknown; sending them again is safe,
    because consumers drop the repeat by event id."""


class OffsetOutOfRange(CloseloopError):
    """A position outside what the bus keeps: retention overtook the consumer, or the log is older than the position
    (restored from a backup). Never skipped silently: records are lost, or positions are wrong; a person decides."""

    title = "Offset out of range"


def message_size(message: Message) -> int:
    """Bytes that count against the limit."""
    return message.size or len(message.key) + len(message.value) + sum(map(len, chain.from_iterable(message.headers)))


def refuse_oversized(messages: Sequence[Message]) -> list[int]:
    """The sizes of messages. Raises MessageTooLarge if any is over the limit; both producers call it before they send
    anything."""
    sizes = list(map(message_size, messages))
    if sizes and (size := max(sizes)) > MESSAGE_LIMIT_BYTES:
        topic = messages[sizes.index(size)].topic
        raise MessageTooLarge(f"a message of {size} bytes on {topic}; the limit is {MESSAGE_LIMIT_BYTES}")
    return sizes


class Producer(Protocol):
    """Appends messages. One per process and bus; safe to share between tasks."""

    async def start(self) -> None:
        """Connect. Raises BusUnavailable when the bus cannot be reached within its timeout."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is durable. Messages of one key keep their order within and across calls
        that are awaited one after the other. Raises MessageTooLarge (nothing sent) or BusUnavailable (unknown)."""

    async def stop(self) -> None:
        """Flush what is under way within a few seconds and close; never hangs."""


class RebalanceListener(Protocol):
    """Told which partitions this member has. No record of a partition is handed out before `assigned` has returned."""

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Partitions that are new to this member → the offset to start each at. Raising ends the consumer."""
        ...

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Partitions that this member has no more; their unfinished work is to be dropped."""


class Consumer(Protocol):
    """One member of a consumer group."""

    async def start(self) -> None:
        """Join the group. Raises BusUnavailable."""

    async def fetch(self, max_records: int, timeout_seconds: float) -> dict[TopicPartition, list[Record]]:
        """The next records, at most `max_records` per partition, as soon as there are any; {} after the timeout.
        Records of a partition continue where the last fetch or `seek` left off. Memory stays bounded however slowly
        this is called. Raises what `assigned` raised, BusUnavailable on an outage (call again), OffsetOutOfRange."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue this owned partition at `offset`; records fetched ahead are dropped."""

    def pause(self, partition: TopicPartition) -> None:
        """Hand out nothing of this partition (it stays ours) until `resume`."""

    def resume(self, partition: TopicPartition) -> None:
        """Undo `pause`."""

    def assignment(self) -> frozenset[TopicPartition]:
        """Partitions that are ours now."""
        ...

    async def high_water(self) -> dict[TopicPartition, int]:
        """For each owned partition the offset that its next record will get."""
        ...

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell the bus the next offsets, for lag tools only; failure is logged, never raised."""

    async def stop(self) -> None:
        """Leave the group at once (its partitions move without waiting for a session to expire); never hangs."""


class Bus(Protocol):
    """A connection to one bus."""

    async def start(self) -> None:
        """Connect. Raises BusUnavailable."""

    async def create_topics(self, topics: Sequence[Topic]) -> None:
        """Create what is missing. Never repartitions: an existing topic with another partition count is an error."""

    async def plan_topics(self, topics: Sequence[Topic], brokers: int = 1) -> tuple[Step, ...]:
        """What has to happen so that the bus has these topics, on at least so many brokers; changes nothing."""
        ...

    async def apply_topics(self, steps: Sequence[Step]) -> None:
        """Do what a plan says. Raises Conflict when the plan has a refusal; nothing is changed then."""

    def producer(self) -> Producer:
        """A producer, not started."""
        ...

    def consumer(self, group: str, topics: Sequence[str], listener: RebalanceListener) -> Consumer:
        """A member of `group`, not started."""
        ...

    async def offsets(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition → (first offset kept, offset of the next record). Raises BusUnavailable."""
        ...

    async def read(self, partition: TopicPartition, offset: int, max_records: int) -> list[Record]:
        """Up to `max_records` records from `offset` on (or from the first kept one), outside any group: for tail and
        rebuilds. [] at the end of the partition."""
        ...

    async def stop(self) -> None:
        """Close what start opened; never hangs."""
