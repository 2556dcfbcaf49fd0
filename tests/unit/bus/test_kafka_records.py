"""Records made a batch at a time are those that aiokafka makes one by one."""

import gc
import weakref
from collections.abc import Sequence

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from shared.bus.kafka.records import KafkaRecord, _Records

HEADERS = (("ce_id", b"1"), ("ce_type", b"t"))
# Fields of a batch (KIP-98): where it begins, its attributes, and the offset of its last record behind the first.
BASE_OFFSET, ATTRIBUTES, LAST_DELTA = slice(0, 8), slice(21, 23), slice(23, 27)
CONTROL = 0x20


def batch(first: int, count: int, *, control: bool = False, last: int | None = None) -> bytes:
    """`count` records from offset `first` on; after compaction the last one may be missing."""
    builder = DefaultRecordBatchBuilder(2, 3, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        name = str(first + number).encode()
        builder.append(number, 1_700_000_000_000, name or None, b"value " + name, list(HEADERS))
    made = bytearray(builder.build())
    made[BASE_OFFSET] = first.to_bytes(8, "big")
    if control:
        made[ATTRIBUTES] = (int.from_bytes(made[ATTRIBUTES], "big") | CONTROL).to_bytes(2, "big")
    if last is not None:
        made[LAST_DELTA] = (last - first).to_bytes(4, "big")
    return bytes(made)


def fetched(*batches: bytes, offset: int = 0, check_crcs: bool = False) -> _Records:
    """What a fetch from `offset` on has brought."""
    together = MemoryRecords(b"".join(batches))
    return _Records(TopicPartition("t", 3), together, None, offset, None, None, check_crcs, READ_UNCOMMITTED)


def offsets(records: Sequence[KafkaRecord]) -> list[int]:
    """Where they stand."""
    return [record.offset for record in records]


def test_a_record_has_all_that_was_sent() -> None:
    [record] = fetched(batch(7, 1), check_crcs=True, offset=7).take(None)
    assert record == ("t", 3, 7, b"7", b"value 7", HEADERS)


def test_records_are_taken_in_pieces_over_batches() -> None:
    records = fetched(batch(0, 3), batch(3, 4))
    assert offsets(records.take(2)) == [0, 1]
    assert records.next_fetch_offset == 2
    assert offsets(records.take(3)) == [2, 3, 4]
    assert not records.ended()
    assert offsets(records.take(9)) == [5, 6]
    assert records.ended()
    assert records.next_fetch_offset == 7
    assert records.take(9) == []


def test_a_fetch_begins_in_the_middle_of_a_batch() -> None:
    assert offsets(fetched(batch(0, 5), offset=3).take(None)) == [3, 4]


def test_what_the_broker_marks_is_passed_over() -> None:
    records = fetched(batch(0, 1), batch(1, 1, control=True), batch(2, 1))
    assert offsets(records.take(None)) == [0, 2]
    alone = fetched(batch(4, 1, control=True), offset=4)
    assert alone.take(10) == []
    assert alone.next_fetch_offset == 5


def test_the_next_fetch_goes_on_behind_what_compaction_took() -> None:
    records = fetched(batch(0, 2, last=9))
    assert offsets(records.take(None)) == [0, 1]
    assert records.next_fetch_offset == 10


def test_a_damaged_batch_is_found() -> None:
    damaged = bytearray(batch(1, 2))
    damaged[-1] ^= 1
    records = fetched(batch(0, 1), bytes(damaged), check_crcs=True)
    with pytest.raises(CorruptRecordException, match="damaged"):
        records.take(None)


def test_a_fetch_that_is_read_is_given_back_at_once() -> None:
    gc.disable()
    try:
        records = fetched(batch(0, 3))
        records.take(None)
        gone = weakref.ref(records)
        del records
        assert gone() is None
    finally:
        gc.enable()
