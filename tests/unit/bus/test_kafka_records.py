"""Records made a batch at a time are those that aiokafka makes one by one."""

import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.heading import heading_of
from shared.bus.kafka.packed import PackedRecord
from shared.bus.kafka.records import KafkaRecord, _Batches, _Records

HEADERS = (("ce_id", b"1"), ("ce_type", b"t"))
# Fields of a batch (KIP-98): where it begins, its attributes, and the offset of its last record behind the first.
BASE_OFFSET, ATTRIBUTES, LAST_DELTA = slice(0, 8), slice(21, 23), slice(23, 27)
CONTROL = 0x20
RECORDS, LZ4, MANY = 61, 3, 300


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
    together = _Batches(b"".join(batches))
    return _Records(TopicPartition("t", 3), together, None, offset, None, None, check_crcs, READ_UNCOMMITTED)


def offsets(records: Sequence[KafkaRecord | PackedRecord]) -> list[int]:
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


def large(headers: Sequence[Sequence[tuple[str, bytes | None]]], *, codec: int = LZ4) -> bytes:
    """A batch of many records with these headers, one after the other."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 22)
    for number in range(MANY):
        value = bytes([number % 251]) * (number % 300)
        builder.append(
            number, 1_700_000_000_000, f"{number}".encode(), value or None, list(headers[number % len(headers)])
        )
    made = bytearray(builder.build())
    made[BASE_OFFSET] = (5_000_000_000).to_bytes(8, "big")
    return bytes(made)


def event(number: int, *, workspace: bytes = b"w", time: bytes = b"2026-01-01T00:00:00Z") -> list[tuple[str, bytes]]:
    """Headers as codec.encode writes them."""
    return [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{number:036}".encode()),
        ("ce_type", b"dev.closeloop.feedback.received.v1"),
        ("ce_source", b"closeloop/ingest"),
        ("ce_time", time),
        ("ce_workspace", workspace),
        ("ce_correlationid", f"{number:036}".encode()),
        *([("traceparent", b"00-1-2-01")] if number % 2 else []),
    ]


ODD: list[list[tuple[str, bytes | None]]] = [
    [],
    [("ce_type", None), ("", b""), ("ü", "ü".encode() * 200)],
    list(event(3)[::-1]),
    [*event(4)[:6], ("ce_workspace", None), *event(4)[7:]],
    [*event(5)[:3], ("ce_type", b"\xff"), *event(5)[4:]],
    [(name, b"x" * 20_000) for name, _ in event(6)],
    list(event(7, workspace=b"NOT a workspace")),
]
MANY_HEADERS: list[list[tuple[str, bytes | None]]] = [[*event(8), *[("x", b"")] * 70], list(event(9))]
SEVERAL: list[list[tuple[str, bytes | None]]] = [
    list(event(1)),
    list(event(2, workspace=b"other")),
    list(event(3, time=b"2026-01-01T00:00:00.123456Z")),
    list(event(4)),
]


@pytest.mark.parametrize("headers", [SEVERAL, ODD, SEVERAL + ODD, ODD + SEVERAL, MANY_HEADERS, [[]]])
@pytest.mark.parametrize("codec", [0, LZ4])
def test_large_batches_are_read_as_aiokafka_reads_them(
    headers: Sequence[Sequence[tuple[str, bytes | None]]], codec: int
) -> None:
    raw = large(headers, codec=codec)
    records = fetched(raw, check_crcs=True).take(None)
    assert isinstance(records[0], PackedRecord)
    wanted = [
        (one.offset, one.key or b"", one.value or b"", tuple(one.headers)) for one in MemoryRecords(raw).next_batch()
    ]
    assert [(one.offset, one.key, one.value, one.headers) for one in records] == wanted
    assert [one.heading for one in records] == [heading_of(one.headers) for one in records]
    assert offsets(fetched(raw, offset=5_000_000_007).take(3)) == [5_000_000_007, 5_000_000_008, 5_000_000_009]


def test_a_batch_that_claims_more_records_than_it_has_is_damaged() -> None:
    lying = bytearray(large(SEVERAL))
    lying[57:61] = (2**31 - 1).to_bytes(4, "big")
    with pytest.raises(CorruptRecordException):
        fetched(bytes(lying)).take(None)


def test_headings_are_those_of_each_record() -> None:
    found = [one.heading for one in fetched(large(SEVERAL)).take(4)]
    kind = "dev.closeloop.feedback.received.v1"
    assert found == [(kind, "w"), (kind, "other"), (kind, "w"), (kind, "w")]
    assert {one.heading for one in fetched(large(ODD)).take(None)} == {None}


@given(st.binary(max_size=30), st.integers(0, 5_000))
def test_a_large_batch_of_nonsense_ends_as_aiokafka_says(damage: bytes, at: int) -> None:
    raw = bytearray(large(SEVERAL, codec=0))
    raw[RECORDS + at : RECORDS + at + len(damage)] = damage
    whole = bytes(raw[:8] + (len(raw) - 12).to_bytes(4, "big") + raw[12:])
    try:
        wanted = [(one.offset, one.value or b"") for one in MemoryRecords(whole).next_batch()]
    except CorruptRecordException:
        with suppress(CorruptRecordException):  # nonsense in headers that nobody asks for is not seen
            fetched(whole).take(None)
    except UnicodeDecodeError:
        with suppress(UnicodeDecodeError):
            fetched(whole).take(None)
    else:
        assert [(one.offset, one.value) for one in fetched(whole).take(None)] == wanted
