"""What the producer says to brokers: an aiokafka client, a producer id, and a number for every record of a partition.

aiokafka's own producer costs ten times as much for a batch of few records, does not answer while the broker is down,
and stays broken once a batch has failed, because the numbers of the lost batch are burned (delivery.md T1, T2, T4).
Here numbers are used up only by batches that were confirmed; where that is not known, the partition goes on under the
next epoch, and what is still on its way under the old one is refused (KIP-360).
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import DuplicateSequenceNumber, KafkaError, NodeNotReadyError, NoError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from shared.bus.kafka.client import abandon_client, ended_in_time, meet
from shared.bus.kafka.encode import encode_batch
from shared.bus.kafka.produce import Produce
from shared.bus.port import Message, TopicPartition
from shared.bus.security import Security

REQUEST_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_RETRY_SECONDS = 0.1
_UNBOUNDED = 2**31 - 1
_LAST_SEQUENCE = 2**31 - 1
_LAST_EPOCH = 2**15 - 1


class Link:
    """One producer id with its client, from `open` until it is given up."""

    def __init__(self, servers: Sequence[str], security: Security) -> None:
        self.client: Any = AIOKafkaClient(
            bootstrap_servers=list(servers),
            request_timeout_ms=int(REQUEST_SECONDS * 1000),
            metadata_max_age_ms=60_000,
            **security.options,
        )
        self._id = -1
        self._epochs: defaultdict[TopicPartition, int] = defaultdict(int)
        self._sequences: defaultdict[TopicPartition, int] = defaultdict(int)

    async def open(self) -> None:
        """Meet the brokers and get an id. Raises KafkaError and OSError; the caller bounds the time."""
        await meet(self.client, self.client.bootstrap())
        while True:
            with suppress(NodeNotReadyError):
                answer = await self.client.send(self.client.get_random_node(), InitProducerIdRequest(None, _UNBOUNDED))
                refusal = for_code(answer.error_code)
                if refusal is NoError:
                    self._id = answer.producer_id
                    return
                if not refusal.retriable:
                    raise refusal
            await asyncio.sleep(_RETRY_SECONDS)

    async def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has. Raises UnknownTopicOrPartitionError after REQUEST_SECONDS."""
        return len(await self.client._wait_on_metadata(topic))

    def leader_of(self, partition: TopicPartition) -> int | None:
        """The broker that takes records of a partition; None: not known, it is being asked for."""
        leader: int | None = self.client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            self.client._topics.add(partition.topic)
            self.refresh()
            return None
        return leader

    def refresh(self) -> asyncio.Future[bool]:
        """Ask for partitions and leaders anew; whether a broker has answered."""
        asked: asyncio.Future[bool] = self.client.force_metadata_update()
        return asked

    async def write(
        self, leader: int, batches: Mapping[TopicPartition, Sequence[Message]]
    ) -> dict[TopicPartition, KafkaError | None]:
        """Send one batch for each partition; None for those that are durable. After an error that may be tried again
        the same batch comes again: the broker knows it by its number. After any other, or when it is not tried again,
        `fence` the partition."""
        now = int(time.time() * 1000)
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for partition, messages in batches.items():
            topics.setdefault(partition.topic, []).append(
                (partition.partition, self._encoded(partition, messages, now))
            )
        try:
            answer = await self.client.send(leader, Produce(topics, int(REQUEST_SECONDS * 1000)))
        except KafkaError as error:
            return dict.fromkeys(batches, error)
        codes: dict[TopicPartition, int] = answer.codes
        return {one: self._outcome(one, len(batches[one]), code) for one, code in codes.items()}

    def _outcome(self, partition: TopicPartition, count: int, code: int) -> KafkaError | None:
        error = for_code(code)
        if error is NoError or error is DuplicateSequenceNumber:  # the latter is an old acquaintance of the broker's
            self._sequences[partition] = (self._sequences[partition] + count) & _LAST_SEQUENCE
            return None
        if error.invalid_metadata:
            self.refresh()
        refusal: KafkaError = error()
        return refusal

    def _encoded(self, partition: TopicPartition, messages: Sequence[Message], now: int) -> bytes:
        return encode_batch(messages, now, self._id, self._epochs[partition], self._sequences[partition])

    def fence(self, partition: TopicPartition) -> bool:
        """Whether the next batch may come: what is still on its way is refused from then on. False: there have been
        32,767 epochs, and this link is to be given up."""
        self._sequences[partition] = 0
        self._epochs[partition] += 1
        return self._epochs[partition] <= _LAST_EPOCH

    async def close(self) -> None:
        """Cut its connections, in bounded time."""
        if not await ended_in_time(self.client.close(), _CLOSE_SECONDS):
            await abandon_client(self.client)
