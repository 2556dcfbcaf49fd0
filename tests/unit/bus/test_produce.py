"""Produce requests and answers are, byte for byte, what aiokafka's own are."""

from aiokafka.protocol.produce import ProduceRequest, ProduceRequest_v7, ProduceResponse_v7
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.kafka.produce import Produce, Produced
from shared.bus.port import TopicPartition

TOPICS = st.text(max_size=20)
INT_32 = st.integers(0, 2**31 - 1)
INT_64 = st.integers(-1, 2**63 - 1)
OUTCOMES = st.lists(st.tuples(INT_32, st.integers(-1, 99), INT_64, INT_64, INT_64), max_size=5)


@given(st.dictionaries(TOPICS, st.lists(st.tuples(INT_32, st.binary(max_size=50)), max_size=5), max_size=3), INT_32)
def test_requests(topics: dict[str, list[tuple[int, bytes]]], milliseconds: int) -> None:
    theirs = ProduceRequest(None, -1, milliseconds, list(topics.items())).prepare({0: (7, 7)})
    ours = Produce(topics, milliseconds).prepare({0: (3, 11)})
    assert isinstance(theirs, ProduceRequest_v7)
    assert ours.encode() == theirs.encode()
    header = ours.build_request_header(correlation_id=5, client_id="c")
    assert header.encode() == theirs.build_request_header(correlation_id=5, client_id="c").encode()


@given(st.dictionaries(TOPICS, OUTCOMES, max_size=3))
def test_answers(topics: dict[str, list[tuple[int, int, int, int, int]]]) -> None:
    encoded = ProduceResponse_v7(topics=list(topics.items()), throttle_time_ms=3).encode()
    codes = {TopicPartition(topic, one[0]): one[1] for topic, outcomes in topics.items() for one in outcomes}
    assert Produced.decode(encoded).codes == codes
