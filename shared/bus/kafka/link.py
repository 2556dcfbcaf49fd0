"""One connection of the producer: an aiokafka producer from its start until it fails a batch."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.codec import lz4_encode
from aiokafka.record._crecords import default_records

from shared.bus.port import Message, TopicPartition
from shared.bus.security import Security

REQUEST_SECONDS = 10.0
MAX_REQUEST_BYTES = 900_000
_LOOK_SECONDS = 0.25

# aiokafka asks lz4 for level 9 and has no option for it: five times the time of level 1, for a tenth of the size.
default_records.lz4_encode = partial(lz4_encode, level=1)


class Lost(Exception):
    """The connection was given up while the batch was under way."""


class Link:
    """One aiokafka producer, from its start until it fails."""

    def __init__(self, servers: Sequence[str], security: Security) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost = False
        self._outcomes: dict[asyncio.Future[None], float] = {}  # and their deadlines
        self._look: asyncio.TimerHandle | None = None
        self._smooth: set[TopicPartition] = set()
        self.producer: Any = AIOKafkaProducer(
            bootstrap_servers=list(servers),
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            # Our own BATCH_BYTES cuts batches; this one only has to let the largest message through.
            max_batch_size=MAX_REQUEST_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=int(REQUEST_SECONDS * 1000),
            metadata_max_age_ms=60_000,
            **security.options,
        )

    async def write(self, partition: TopicPartition, messages: Sequence[Message], deadline: float) -> None:
        """Return when the broker has confirmed. Raises KafkaError, TimeoutError or Lost."""
        batch = self.producer.create_batch()
        for message in messages:
            headers = list(message.headers)
            if batch.append(timestamp=None, key=message.key, value=message.value, headers=headers) is None:
                raise AssertionError(f"a batch of {len(messages)} messages does not fit a request")
        batch.close()
        # Where the last batch went well, aiokafka has nothing of this partition and takes the next without waiting.
        async with asyncio.timeout_at(deadline) if partition not in self._smooth else nullcontext():
            confirmed = await self.producer.send_batch(batch, partition.topic, partition=partition.partition)
        self._smooth.discard(partition)
        try:
            await self._outcome(confirmed, deadline)
        finally:
            confirmed.cancel()  # nobody reads a late answer
        self._smooth.add(partition)

    def give_up(self) -> None:
        """What is under way is lost."""
        self._lost = True
        for outcome in self._outcomes:
            if not outcome.done():
                outcome.set_exception(Lost())

    async def _outcome(self, confirmed: asyncio.Future[Any], deadline: float) -> None:
        """One timer looks at the deadlines of all: a timer for each batch costs as much as a message."""
        if self._lost:
            raise Lost
        outcome: asyncio.Future[None] = self._loop.create_future()
        confirmed.add_done_callback(partial(_pass_on, outcome))
        self._outcomes[outcome] = deadline
        if self._look is None:
            self._look = self._loop.call_later(_LOOK_SECONDS, self._end_the_overdue)
        try:
            await outcome
        finally:
            del self._outcomes[outcome]

    def _end_the_overdue(self) -> None:
        now = self._loop.time()
        for outcome, deadline in self._outcomes.items():
            if deadline <= now and not outcome.done():
                outcome.set_exception(TimeoutError())
        self._look = self._loop.call_later(_LOOK_SECONDS, self._end_the_overdue) if self._outcomes else None


def _pass_on(outcome: asyncio.Future[None], confirmed: asyncio.Future[Any]) -> None:
    reason = None if confirmed.cancelled() else confirmed.exception()
    if outcome.done():
        return
    if reason is None:
        outcome.set_result(None)
    else:
        outcome.set_exception(reason)
