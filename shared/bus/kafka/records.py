"""Records as aiokafka hands them out, made in a third of the time.

aiokafka makes an object of eleven fields of every record, in Python; reading ten thousand events at once, that takes
longer than decoding them. `install` puts a class of ours in the place where it is made. aiokafka has no setting for it:
tests/contract/bus would fail where a new version goes another way.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher

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
    """The records of one fetch of one partition."""

    def __iter__(self) -> Iterator[KafkaRecord]:
        # The generator itself: aiokafka's own iterator is a call in Python more for every record.
        return self._records_iterator  # type: ignore[no-any-return]

    def _consumer_record(self, partition: Any, record: Any) -> KafkaRecord:
        # Our producers write no nulls, others may.
        key, value = record.key or b"", record.value or b""
        fields = (partition.topic, partition.partition, record.offset, key, value, tuple(record.headers))
        return tuple.__new__(KafkaRecord, fields)


def install() -> None:
    """Have aiokafka make KafkaRecords from now on."""
    fetcher.PartitionRecords = _Records
