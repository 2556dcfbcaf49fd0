"""`make bench-peers`: the equal job on one real Kafka broker, side by side on this machine; table and bench-peers.json.

The topic is filled once with real `feedback.received.v1` events of 60 days; every contender reads it from the beginning
to its end on the same cores, in alternating order, several times. Kafka Streams keeps counts per touchpoint, department
and window of seven days that begins every day; closeloop keeps those sums, every answer besides (for corrections), and
publishes scores with intervals in five windows. A result counts where it equals a recount.
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from deploy.kafka.broker import KafkaBroker, kafka_version
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.embedded import EmbeddedPostgres
from tests.load.peers import closeloop, streams
from tests.load.peers.measure import Run
from tests.load.peers.topic import Recount, fill
from tests.support.postgres import data_folder, make_template, running_server

OUTPUT = Path("bench-peers.json")
EVENTS, ROUNDS, LIMIT_SECONDS = 3_000_000, 3, 600.0
Contender = Callable[[int], Awaitable[Run]]


def contenders(postgres: EmbeddedPostgres, servers: str, recount: Recount, folder: Path) -> dict[str, Contender | str]:
    """Name → how to run it for the n-th time, or why it cannot be run here."""

    def ours(processes: int) -> Contender:
        return lambda _: closeloop.run(postgres, servers, recount, processes, folder, LIMIT_SECONDS)

    def theirs(guarantee: str) -> Contender:
        return lambda n: streams.run(
            folder, servers, FEEDBACK_RECEIVED.name, recount, f"{guarantee}-{n}", guarantee, LIMIT_SECONDS
        )

    missing = streams.build(folder)
    found: dict[str, Contender | str] = {"closeloop, 1 process": ours(1), "closeloop, 2 processes": ours(2)}
    for guarantee in ("exactly_once_v2", "at_least_once"):
        found[f"Kafka Streams, {guarantee}"] = missing or theirs(guarantee)
    return found


async def measured(chosen: Mapping[str, Contender], rounds: int) -> dict[str, list[Run]]:
    """All contenders in turn, forwards and backwards."""
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    for number in range(rounds):
        for name in list(chosen)[:: -1 if number % 2 else 1]:
            sys.stdout.write(f"round {number + 1} of {rounds}: {name} … ")
            sys.stdout.flush()
            run = await chosen[name](number)
            sys.stdout.write(f"{run.seconds:.1f} s, {'exact' if run.exact else 'NOT EXACT'}\n")
            runs[name].append(run)
    return runs


def table(runs: Mapping[str, list[Run]], missing: Mapping[str, str], events: int) -> str:
    """Medians, and the spread of the speed."""
    form = "{:<34} {:>9} {:>15} {:>8} {:>7} {:>9} {:>6}"
    lines = [form.format("contender", "events/s", "spread", "CPU s/M", "beside", "peak MiB", "exact")]
    for name, some in runs.items():
        speeds = sorted(events / run.seconds for run in some)
        lines.append(
            form.format(
                name,
                f"{statistics.median(speeds):,.0f}",
                f"{speeds[0]:,.0f}–{speeds[-1]:,.0f}",
                f"{statistics.median(run.cpu_seconds for run in some) * 1e6 / events:.1f}",
                f"{statistics.median(run.beside_seconds for run in some) * 1e6 / events:.1f}",
                f"{statistics.median(run.peak_bytes for run in some) / 2**20:.0f}",
                "yes" if all(run.exact for run in some) else "NO",
            )
        )
    return "\n".join([*lines, *(f"{name:<34} not run: {reason}" for name, reason in missing.items())]) + "\n"


async def bench(events: int, rounds: int) -> int:
    """Fill, run, print; exit status 1 where a result is not exact."""
    with (
        data_folder() as data,
        data_folder() as work,
        running_server() as postgres,
    ):
        await asyncio.to_thread(make_template, postgres)
        broker = KafkaBroker(data)
        broker.start()
        try:
            sys.stdout.write(f"filling {FEEDBACK_RECEIVED.name} with {events:,} events …\n")
            recount = await fill(broker.bootstrap, FEEDBACK_RECEIVED.name, events)
            found = contenders(postgres, broker.bootstrap, recount, work)
            chosen = {name: one for name, one in found.items() if not isinstance(one, str)}
            missing = {name: one for name, one in found.items() if isinstance(one, str)}
            runs = await measured(chosen, rounds)
        finally:
            broker.stop()
    versions = {"python": platform.python_version(), "kafka": kafka_version(), "machine": platform.platform()}
    sys.stdout.write("\n" + table(runs, missing, events))
    plain = {name: [vars(run) for run in some] for name, some in runs.items()}
    OUTPUT.write_text(json.dumps({"events": events, "versions": versions, "runs": plain, "missing": missing}, indent=1))
    sys.stdout.write(f"{versions}; written to {OUTPUT}\n")
    return 0 if all(run.exact for some in runs.values() for run in some) else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    return asyncio.run(bench(chosen.events, chosen.rounds))


if __name__ == "__main__":
    sys.exit(main())
