"""The Bytewax contender: windows in a `StatefulBatchLogic`, state and position in SQLite files every second.

What it can't: its window operators emit when a window closes, or on every value of every window, which is slow; so the
windows are written by hand here, and what a batch changed is sent once, like the cache of Kafka Streams. Positions are
in the files alone, and a crash sends again what came after the last snapshot: at least once in the output.
"""

import sys
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from answer import COMMIT_SECONDS, DAY_MS, GRACE_DAYS, NONE, WINDOW_DAYS, Counts, key_of, plus, read, value_of
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

_KEPT_MS = (WINDOW_DAYS + GRACE_DAYS) * DAY_MS


class Windows(StatefulBatchLogic):
    """The open windows of one key."""

    def __init__(self, state: tuple[int, dict[int, Counts]] | None) -> None:
        self._latest, self._open = state or (0, {})

    def on_batch(self, values):
        """Count answers; the windows that changed."""
        changed = set()
        for at, score in values:
            self._latest = max(self._latest, at)
            last = at - at % DAY_MS
            for start in range(last - (WINDOW_DAYS - 1) * DAY_MS, last + 1, DAY_MS):
                if start + _KEPT_MS > self._latest:
                    self._open[start] = plus(self._open.get(start, NONE), score)
                    changed.add(start)
        records = [(start, self._open[start]) for start in changed]
        self._open = {start: counts for start, counts in self._open.items() if start + _KEPT_MS > self._latest}
        return records, self.RETAIN

    def snapshot(self):
        """What __init__ takes."""
        return self._latest, dict(self._open)


def _record(changed: tuple[str, tuple[int, Counts]]) -> KafkaSinkMessage:
    key, (start, counts) = changed
    return KafkaSinkMessage(key_of(key.encode(), start), value_of(counts))


def main(servers: str, source: str, output: str, folder: str, number: str, *addresses: str) -> None:
    """Until it is ended."""
    flow = Dataflow("peers")
    events = op.input("answers", flow, KafkaSource([servers], [source]))
    answers = op.map("read", events, lambda event: (event.key.decode(), read(event.value)))
    changed = op.stateful_batch("count", answers, Windows)
    op.output("changed", op.map("write", changed, _record), KafkaSink([servers], output))
    cli_main(
        flow,
        process_id=int(number),
        addresses=list(addresses),
        epoch_interval=timedelta(seconds=COMMIT_SECONDS),
        recovery_config=RecoveryConfig(Path(folder), timedelta(0)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
