"""What waits in the producer: messages in batches, batches in the lane of their partition."""

import asyncio
from collections import deque

from shared.bus.port import Message, TopicPartition


class Sending:
    """Who waits for several batches: `done` gets None when all are durable, else the first reason."""

    __slots__ = ("done", "left")

    def __init__(self, done: asyncio.Future[str | None]) -> None:
        self.done = done
        self.left = 1  # until all its messages are in batches

    def finished(self, reason: str | None) -> None:
        """A batch is."""
        self.left -= 1
        if (reason or not self.left) and not self.done.done():
            self.done.set_result(reason)


class Batch:
    """Messages of one partition that travel together."""

    __slots__ = ("born", "ended", "failures", "messages", "sent", "size", "waiters")

    def __init__(self, now: float) -> None:
        self.born = now
        self.messages: list[Message] = []
        self.size = 0
        self.waiters: list[Sending] = []
        self.failures = 0
        self.sent = False  # its number stands for just these messages: none is added, and none but these have it
        self.ended = False  # answered, whether or not it is still under way


class Lane:
    """The batches of one partition: one under way at most, the others wait behind it."""

    __slots__ = ("partition", "rests_until", "under_way", "waiting")

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.under_way: Batch | None = None
        self.waiting: deque[Batch] = deque()
        self.rests_until = 0.0
