"""Records as aiokafka hands them out, made in a third of the time.

aiokafka makes an object of eleven fields of every record, in Python; reading ten thousand events at once, that takes
longer than decoding them. `install` puts classes of ours in the place where they are made. aiokafka has no setting for
it: tests/contract/bus would fail where a new version goes another way.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from shared.bus.heading import Heading, heading_of
from shared.bus.kafka.packed import PackedRecord, unpack
from shared.bus.port import Headers

# Where the length of a batch stands, which counts what is behind it.
_LENGTH_AT, _LENGTH_END = 8, 12


class KafkaRecord(NamedTuple):
    """port.Record of Kafka."""

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


class _Batches:
    """The batches of a fetch, as bytes: aiokafka's MemoryRecords keeps those to itself."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched, self._at = fetched, 0

    def size_in_bytes(self) -> int:
        """Of all, the last and unfinished one too."""
        return len(self._fetched)

    def has_next(self) -> bool:
        """Whether another whole one is left."""
        return self._at + _LENGTH_END <= len(self._fetched) and self._end() <= len(self._fetched)

    def next_batch(self) -> bytes:
        """That one."""
        begin, self._at = self._at, self._end()
        return self._fetched[begin : self._at]

    def _end(self) -> int:
        length = self._fetched[self._at + _LENGTH_AT : self._at + _LENGTH_END]
        return self._at + _LENGTH_END + int.from_bytes(length, "big")


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka ships no types
    """The records of one fetch of one partition, made a batch at a time."""

    _ready: Sequence[KafkaRecord | PackedRecord] = ()
    _after = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # aiokafka's iterator refers back to us: a circle that would keep the fetch until the next search for garbage.
        self._records_iterator = None

    def take(self, limit: int | None) -> list[KafkaRecord | PackedRecord]:
        """The next ones. Raises CorruptRecordException."""
        taken: list[KafkaRecord | PackedRecord] = []
        while (limit is None or len(taken) < limit) and (self._ready or self._records.has_next()):
            if not self._ready:
                self._ready = self._next_batch()
            room = None if limit is None else limit - len(taken)
            taken += self._ready[:room]
            self._ready = () if room is None else self._ready[room:]
            # A batch may end in records that compaction has taken, or be a mark of the broker's alone.
            self.next_fetch_offset = self._ready[0].offset if self._ready else self._after
        return taken

    def ended(self) -> bool:
        """Whether nothing is left to take."""
        return not self._ready and not self._records.has_next()

    def _next_batch(self) -> Sequence[KafkaRecord | PackedRecord]:
        raw = self._records.next_batch()
        batch = MemoryRecords(raw).next_batch()
        if self._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"a batch of {self._tp} is damaged")
        self._after = batch.next_offset
        if batch.is_control_batch:
            return []
        topic, partition = self._tp
        made: Sequence[KafkaRecord | PackedRecord] = unpack(raw, batch, topic, partition) or _made(
            batch, topic, partition
        )
        if made and made[0].offset < self.next_fetch_offset:  # a fetch begins with a whole batch
            made = [one for one in made if one.offset >= self.next_fetch_offset]
        return made


def _made(batch: Any, topic: str, partition: int) -> list[KafkaRecord]:
    new = tuple.__new__
    # Our producers write no nulls, others may.
    return [
        new(KafkaRecord, (topic, partition, one.offset, one.key or b"", one.value or b"", tuple(one.headers)))
        for one in batch
    ]


class _Result(fetcher.FetchResult):  # type: ignore[misc]
    """What a fetch has brought of one partition."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[KafkaRecord | PackedRecord]:
        """As aiokafka's, whose loop is a step in Python for every record."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        records: list[KafkaRecord | PackedRecord] = self._partition_records.take(max_records)
        self._update_position()
        if self._partition_records.ended():
            self._partition_records = None
        return records


def install() -> None:
    """Have aiokafka make KafkaRecords from now on; only for `getmany`, and for consumers that are `read_uncommitted`:
    aborted transactions, which no producer of ours makes, are not left out."""
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = _Records
    fetcher.FetchResult = _Result
