"""Batches as brokers store them: what aiokafka's reader finds in them is what was sent."""

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.headers import VARINTS, PackedHeaders, pack, unpacked
from shared.bus.kafka.encode import encode_batch
from shared.bus.port import Message, message_size

content = st.binary(max_size=300) | st.sampled_from([b"", b"x" * 63, b"x" * 64, b"y" * 8191, b"z" * 20_000])
names = st.text(max_size=20) | st.sampled_from(["ce_id", "n" * 70])
headers = st.lists(st.tuples(names, content), max_size=10).map(tuple)
messages = st.builds(Message, st.just("feedback"), content, content, headers)


@given(several=st.lists(messages, min_size=1, max_size=90), sequence=st.integers(0, 2**31 - 1), packs=st.booleans())
def test_what_is_read_is_what_was_sent(several: list[Message], sequence: int, packs: bool) -> None:
    sent = [
        Message(one.topic, one.key, one.value, PackedHeaders(pack(one.headers)) if packs else one.headers)
        for one in several
    ]
    encoded = encode_batch(sent, 1_785_000_000_123, 70_000, 300, sequence)
    batches = MemoryRecords(encoded)
    batch = batches.next_batch()
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (70_000, 300, sequence)
    assert not batch.is_transactional
    found = [(one.offset, one.timestamp, one.key, one.value, tuple(one.headers)) for one in batch]
    assert found == [(n, 1_785_000_000_123, one.key, one.value, one.headers) for n, one in enumerate(several)]
    assert not batches.has_next()
    assert [message_size(one) for one in sent] == [message_size(one) for one in several]


def test_what_repeats_is_compressed() -> None:
    assert len(encode_batch([Message("t", b"key", b"value " * 100)] * 50, 0, 1, 0, 0)) < 1000


@pytest.mark.parametrize("number", [0, 63, 64, 8191, 8192, 16_383, 16_384, 2**20])
def test_numbers_of_any_size(number: int) -> None:
    text = pack([("name", bytes(number))])
    [(name, value, end)] = unpacked(text, 0)
    assert (name, len(value), end) == ("name", number, len(text))
    assert len(VARINTS) <= 2**14
