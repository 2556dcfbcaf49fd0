"""Produce requests and their answers for aiokafka's connections, in version 7.

aiokafka's own are written and read field by field: for a few records of each of many partitions that costs as much as
the records.
"""

import struct
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from shared.bus.port import TopicPartition

_ALL = -1  # acks: of all brokers that are in step
_HEAD = struct.Struct(">hhii")  # no transactional id, acks, milliseconds, number of topics
_COUNT = struct.Struct(">i")
_LENGTH = struct.Struct(">h")
_BATCH = struct.Struct(">ii")  # partition, bytes
_OUTCOME = struct.Struct(">ihqqq")  # partition, error code, offset, time of the log, its first offset


class Produced(Response):  # type: ignore[misc]
    """`codes` has an error code for each partition."""

    API_KEY = 0
    API_VERSION = 7
    SCHEMA = ProduceResponse_v7.SCHEMA

    def __init__(self, codes: dict[TopicPartition, int]) -> None:
        self.codes = codes

    @classmethod
    def decode(cls, data: BytesIO | bytes) -> "Produced":
        """Read what stands behind the header of an answer."""
        raw = data if isinstance(data, bytes) else data.read()
        codes: dict[TopicPartition, int] = {}
        at = _COUNT.size
        for _ in range(_COUNT.unpack_from(raw)[0]):
            begin = at + _LENGTH.size
            end = begin + _LENGTH.unpack_from(raw, at)[0]
            topic = raw[begin:end].decode()
            first = end + _COUNT.size
            at = first + _COUNT.unpack_from(raw, end)[0] * _OUTCOME.size
            for partition, code, *_ in _OUTCOME.iter_unpack(raw[first:at]):
                codes[TopicPartition(topic, partition)] = code
        return cls(codes)


class ProduceStruct(RequestStruct):  # type: ignore[misc]
    """A request as it goes over the wire."""

    API_KEY = 0
    API_VERSION = 7
    RESPONSE_TYPE = Produced
    SCHEMA = ProduceRequest_v7.SCHEMA

    def __init__(self, topics: dict[str, list[tuple[int, bytes]]], milliseconds: int) -> None:
        self._topics = topics
        self._milliseconds = milliseconds

    def encode(self) -> bytes:
        """What stands behind its header."""
        parts = [_HEAD.pack(-1, _ALL, self._milliseconds, len(self._topics))]
        for topic, batches in self._topics.items():
            name = topic.encode()
            parts += (_LENGTH.pack(len(name)), name, _COUNT.pack(len(batches)))
            for partition, batch in batches:
                parts += (_BATCH.pack(partition, len(batch)), batch)
        return b"".join(parts)


class Produce(Request[ProduceStruct]):  # type: ignore[misc]
    """For `AIOKafkaClient.send`. The broker waits for the others for so many milliseconds."""

    API_KEY = 0

    def __init__(self, topics: dict[str, list[tuple[int, bytes]]], milliseconds: int) -> None:
        self._topics = topics
        self._milliseconds = milliseconds

    def build(self, request_struct_class: type[ProduceStruct]) -> Any:
        """Of the one version that there is."""
        return request_struct_class(self._topics, self._milliseconds)
