"""The Quix Streams contender: a hopping window that is reduced, its state in RocksDB with changelog topics.

What it can't: hold a window's changes back for a while (`current()` sends a record for each of the seven windows of
every event, where Kafka Streams has a cache). At least once, its default; it can do exactly once too.
"""

import sys

from answer import COMMIT_SECONDS, DAY_MS, GRACE_DAYS, NONE, SESSION_SECONDS, WINDOW_DAYS, key_of, plus, read, value_of
from quixstreams import Application
from quixstreams.models import Deserializer, Serializer


class Answers(Deserializer):
    """(time, score) of a body."""

    def __call__(self, value, ctx):
        return read(value)


class Changed(Serializer):
    """The second half of (key, value); the first is the record's key."""

    def __call__(self, value, ctx):
        return value[1]


def main(servers: str, source: str, output: str, _partitions: str, name: str, folder: str) -> None:
    """Until it is ended."""
    app = Application(
        broker_address=servers,
        consumer_group=name,
        auto_offset_reset="earliest",
        state_dir=folder,
        commit_interval=COMMIT_SECONDS,
        # At its start it asks for the ends of one partition after the other, each time behind a fetch that waits for
        # events, by default 500 ms: 20 s more with 24 partitions of a quiet topic.
        consumer_extra_config={"session.timeout.ms": SESSION_SECONDS * 1000, "fetch.wait.max.ms": 50},
        loglevel="WARNING",
    )
    answers = app.topic(source, value_deserializer=Answers(), timestamp_extractor=lambda answer, *_: answer[0])
    changed = app.topic(output, value_serializer=Changed())
    (
        app.dataframe(answers)
        .hopping_window(WINDOW_DAYS * DAY_MS, DAY_MS, grace_ms=GRACE_DAYS * DAY_MS)
        .reduce(lambda counts, answer: plus(counts, answer[1]), lambda answer: plus(NONE, answer[1]))
        .current()
        .apply(lambda window, key, *_: (key_of(key, window["start"]), value_of(window["value"])), metadata=True)
        .to_topic(changed, key=lambda record: record[0])
    )
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
