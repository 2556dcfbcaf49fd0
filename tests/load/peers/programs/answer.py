"""What the programs share, each run by its own environment: the fields of an event that the job needs, and records byte
for byte those of kafka_streams/Job.java. Like that job they drop no duplicates and know no corrections."""

import struct
from datetime import datetime

import orjson

DAY_MS = 86_400_000
WINDOW_DAYS = 7
GRACE_DAYS = 2
# As closeloop's consumers: how long a group waits for a member that died.
SESSION_SECONDS = 15
COMMIT_SECONDS = 1

Counts = tuple[int, int, int]
NONE: Counts = (0, 0, 0)


def read(body: bytes) -> tuple[int, int]:
    """(event time in ms, score): an event counts when it came about, no later than it was received."""
    event = orjson.loads(body)
    times = datetime.fromisoformat(event["occurred_at"]), datetime.fromisoformat(event["received_at"])
    return int(min(times).timestamp() * 1000), int(event["ratings"][0]["value"])


def plus(counts: Counts, score: int) -> Counts:
    """Answers, promoters, detractors with one more answer."""
    return counts[0] + 1, counts[1] + (score >= 9), counts[2] + (score <= 6)


def key_of(key: bytes, start_ms: int) -> bytes:
    """The key of a window's record."""
    return key + struct.pack(">q", start_ms)


def value_of(counts: Counts) -> bytes:
    """The value of a window's record."""
    return struct.pack(">iii", *counts)
