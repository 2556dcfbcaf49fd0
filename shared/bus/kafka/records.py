"""Records as aiokafka hands them out, made in a third of the time.

aiokafka makes an object of eleven fields of every record, in Python; reading ten thousand events at once, that takes
longer than decoding them. `install` puts classes of ours in the place where they are made. aiokafka has no setting for
it: tests/contract/bus would fail where a new version goes another way.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

from shared.bus.port import Headers


class KafkaRecord(NamedTuple):
    """port.Record of Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka ships no types
    """The records of one fetch of one partition, made a batch at a time."""

    _ready: Sequence[KafkaRecord] = ()
    _after = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # aiokafka's iterator refers back to us: a circle that would keep the fetch until the next search for garbage.
        self._records_iterator = None

    def take(self, limit: int | None) -> list[KafkaRecord]:
        """The next ones. Raises CorruptRecordException."""
        taken: list[KafkaRecord] = []
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

    def _next_batch(self) -> list[KafkaRecord]:
        batch = self._records.next_batch()
        if self._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"a batch of {self._tp} is damaged")
        self._after = batch.next_offset
        if batch.is_control_batch:
            return []
        topic, partition = self._tp
        new = tuple.__new__
        # Our producers write no nulls, others may.
        made = [
            new(KafkaRecord, (topic, partition, one.offset, one.key or b"", one.value or b"", tuple(one.headers)))
            for one in batch
        ]
        if made and made[0].offset < self.next_fetch_offset:  # a fetch begins with a whole batch
            made = [one for one in made if one.offset >= self.next_fetch_offset]
        return made


class _Result(fetcher.FetchResult):  # type: ignore[misc]
    """What a fetch has brought of one partition."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[KafkaRecord]:
        """As aiokafka's, whose loop is a step in Python for every record."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        records: list[KafkaRecord] = self._partition_records.take(max_records)
        self._update_position()
        if self._partition_records.ended():
            self._partition_records = None
        return records


def install() -> None:
    """Have aiokafka make KafkaRecords from now on; only for `getmany`, and for consumers that are `read_uncommitted`:
    aborted transactions, which no producer of ours makes, are not left out."""
    fetcher.PartitionRecords = _Records
    fetcher.FetchResult = _Result
