"""The topic that all contenders read: real `feedback.received.v1` events, and what a recount of them gives."""

import asyncio
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from numpy.typing import NDArray

from shared.bus import codec
from shared.bus.port import Message
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1, Rating, SensitiveFeedback, Survey
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.clock import rfc3339

PARTITIONS = FEEDBACK_RECEIVED.partitions
DAYS = 60
WORKSPACE = "peers"
TOUCHPOINTS = tuple(f"touchpoint-{n:02}" for n in range(12))
DEPARTMENTS = tuple(f"department-{n:02}" for n in range(20))
TEXT = "The lamp came nine days late and the shade was cracked; the voucher did not work either."
_LATE_SHARE = 0.05


@dataclass(frozen=True)
class Recount:
    """What is in `topic`: `counts[key, day]` is (answers, promoters, detractors); day 0 is `first_day`, a key is
    touchpoint|department."""

    topic: str
    first_day: datetime
    counts: NDArray[np.int64]

    @property
    def events(self) -> int:
        """All of them."""
        return int(self.counts[:, :, 0].sum())

    @staticmethod
    def key_of(number: int) -> tuple[str, str]:
        """(touchpoint, department) of a key's number."""
        return TOUCHPOINTS[number // len(DEPARTMENTS)], DEPARTMENTS[number % len(DEPARTMENTS)]


async def fill(servers: str, topic: str, events: int, seed: int = 1) -> Recount:
    """Make the topic and write `events` events in the order of their times, some of them late."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    # Event times lie in the past: retention by time would delete them at once.
    kept = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=kept)])
    await admin.close()
    first_day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    recount = Recount(topic, first_day, np.zeros((len(TOUCHPOINTS) * len(DEPARTMENTS), DAYS, 3), dtype=np.int64))
    producer = await _producer(servers)
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    sent = []
    for partition, message in _messages(events, recount, random.Random(seed)):
        add = {"key": message.key, "value": message.value, "timestamp": None, "headers": list(message.headers)}
        if batches[partition].append(**add) is None:
            sent.append(await producer.send_batch(batches[partition], topic, partition=partition))
            batches[partition] = producer.create_batch()
            batches[partition].append(**add)
            await asyncio.sleep(0)
    for partition, batch in enumerate(batches):
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)
    await producer.stop()
    return recount


async def append(servers: str, recount: Recount) -> None:
    """One event more in every partition, of the last day's first second; the recount knows."""
    producer, dice = await _producer(servers), random.Random()
    for key in range(PARTITIONS):
        moment = recount.first_day + timedelta(days=DAYS - 1)
        message = _message(*recount.key_of(key), 10, moment, dice)
        await producer.send_and_wait(
            recount.topic, message.value, message.key, partition=key % PARTITIONS, headers=list(message.headers)
        )
        recount.counts[key, DAYS - 1] += (1, 1, 0)
    await producer.stop()


async def _producer(servers: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, max_batch_size=1 << 20, compression_type="lz4"
    )
    await producer.start()
    return producer


def _messages(events: int, recount: Recount, dice: random.Random) -> Iterator[tuple[int, Message]]:
    span = DAYS * 86_400.0
    now = (datetime.now(UTC) - recount.first_day).total_seconds()
    for n in range(events):
        seconds = min(now - 1, n * min(span, now) / events)
        if dice.random() < _LATE_SHARE:
            seconds = max(0.0, seconds - dice.random() * 86_400)
        key = dice.randrange(len(recount.counts))
        score = dice.choice((10, 10, 9, 9, 9, 8, 8, 7, 7, 6, 5, 3, 0))
        recount.counts[key, int(seconds // 86_400)] += (1, score >= 9, score <= 6)
        moment = recount.first_day + timedelta(seconds=seconds)
        yield key % PARTITIONS, _message(*recount.key_of(key), score, moment, dice)


def _message(touchpoint: str, department: str, score: int, moment: datetime, dice: random.Random) -> Message:
    """As `codec.encode` would write it: what differs is put into one that it wrote."""
    feedback_id, event_id, customer = (_uuid5(dice.getrandbits(122)) for _ in range(3))
    at = rfc3339(moment)
    value = _VALUE % (feedback_id, at, touchpoint, department, score, customer)
    headers = list(_TEMPLATE.headers)
    headers[2] = ("ce_id", event_id.encode())
    headers[5] = ("ce_time", at.encode())
    headers[7] = ("ce_correlationid", feedback_id.encode())
    return Message(_TEMPLATE.topic, f"{touchpoint}|{department}".encode(), value.encode(), tuple(headers))


def _uuid5(bits: int) -> str:
    text = f"{bits:031x}"
    return f"{text[:8]}-{text[8:12]}-5{text[12:15]}-8{text[15:18]}-{text[18:30]}"


def _template() -> Message:
    moment = datetime(2001, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
    data = FeedbackReceivedV1(
        feedback_id=uuid.UUID(_FEEDBACK.decode()),
        kind="survey_response",
        occurred_at=moment,
        received_at=datetime(2030, 1, 1, tzinfo=UTC),
        source="api",
        connector="api",
        channel="email",
        touchpoint=_TOUCHPOINT.decode(),
        department=_DEPARTMENT.decode(),
        survey=Survey(id="post-delivery", type="transactional"),
        ratings=(Rating(metric="nps", value=7, scale_min=0, scale_max=10, formula="nps"),),
        customer_id=uuid.UUID(_CUSTOMER.decode()),
        language="en",
        sensitive=SensitiveFeedback(identity="nora@example.com", name="Nora Whitfield", text=TEXT),
    )
    event = Event(data.feedback_id, "closeloop/ingest", moment, WORKSPACE, data.feedback_id, None, data)
    return codec.encode(event)


_FEEDBACK, _CUSTOMER = b"00000000-0000-5000-8000-00000000feed", b"00000000-0000-5000-8000-0000000000c5"
_TOUCHPOINT, _DEPARTMENT = b"the-touchpoint", b"the-department"
_TEMPLATE = _template()
_VALUE = _TEMPLATE.value.decode().replace("%", "%%")
for _held, _hole in (
    (_FEEDBACK.decode(), "%s"),
    (rfc3339(datetime(2001, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)), "%s"),
    (_TOUCHPOINT.decode(), "%s"),
    (_DEPARTMENT.decode(), "%s"),
    ('"value":7.0', '"value":%d.0'),
    (_CUSTOMER.decode(), "%s"),
):
    _VALUE = _VALUE.replace(_held, _hole)
