"""The Faust contender: a table with a hopping window, held in memory (its default, quicker than its RocksDB) with a
changelog topic that a restart reads back.

What it can't: close windows by event time (tables expire by the wall clock, which would delete the past while it is
read, so all windows stay), nor hold a window's changes back for a while (a record to the changelog and one to the
output for each of the seven windows of every event). At least once.
"""

import sys
from pathlib import Path

import faust
from answer import COMMIT_SECONDS, DAY_MS, NONE, SESSION_SECONDS, WINDOW_DAYS, key_of, plus, read, value_of

_DAY_SECONDS = DAY_MS // 1000


def main(servers: str, source: str, output: str, partitions: str, name: str, folder: str) -> None:
    """Until it is ended."""
    app = faust.App(
        name,
        broker=f"kafka://{servers}",
        datadir=Path(folder),
        topic_partitions=int(partitions),
        topic_replication_factor=1,
        topic_disable_leader=True,
        broker_commit_interval=COMMIT_SECONDS,
        broker_session_timeout=SESSION_SECONDS,
        producer_linger=0.05,  # without it nearly every record is a request of its own
        web_enabled=False,
    )
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    changed = app.topic(output, **raw)
    table = app.Table("counts", default=lambda: NONE, partitions=int(partitions))
    counts = table.hopping(WINDOW_DAYS * _DAY_SECONDS, _DAY_SECONDS)

    @app.agent(app.topic(source, **raw))
    async def count(stream):
        async for key, body in stream.items():
            at, score = read(body)
            windows = counts[key.decode()]
            for window in table.window.ranges(at / 1000):
                windows[window] = now = plus(windows[window], score)
                await changed.send(key=key_of(key, int(window[0]) * 1000), value=value_of(now))

    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
