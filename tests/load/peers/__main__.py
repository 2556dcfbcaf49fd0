"""`make bench-peers`: the equal job on one real Kafka broker, side by side on this machine; table and bench-peers.json.

A topic is filled once with real `feedback.received.v1` events of 60 days; every contender reads it from the beginning
to its end on the same cores, in alternating order, several times; the slow ones read a topic of their own with a share
of the events. Then each is killed, started again and counts one event more in every partition. The others keep counts
per touchpoint, department and window of seven days that begins every day; closeloop keeps those sums, every answer
besides (for corrections and duplicates), and publishes scores with intervals in five windows. A result counts where it
equals a recount. What cannot be installed or does not run is a line of the table.
"""

import argparse
import asyncio
import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from deploy.kafka.broker import KafkaBroker
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.embedded import EmbeddedPostgres
from tests.load.peers import closeloop, frameworks, measure, streams
from tests.load.peers.frameworks import FRAMEWORKS, Framework
from tests.load.peers.measure import Failed, Job, Run
from tests.load.peers.report import circumstances, table
from tests.load.peers.topic import Recount, fill
from tests.support.postgres import data_folder, make_template, running_server

OUTPUT = Path("bench-peers.json")
EVENTS, ROUNDS, LIMIT_SECONDS = 3_000_000, 3, 300.0
LEAST_EVENTS = 10_000  # fewer are over before a process has started


@dataclass(frozen=True)
class Contender:
    """`install` says why it cannot be run here; `job` makes the job of the n-th round on a topic."""

    name: str
    install: Callable[[], str | None]
    job: Callable[[Recount, int], AbstractAsyncContextManager[Job]]
    divisor: int = 1


def contenders(postgres: EmbeddedPostgres, servers: str, folder: Path) -> list[Contender]:
    """All of them; nothing is installed yet."""

    def ours(processes: int) -> Contender:
        name = f"closeloop, {processes} process{'es' if processes > 1 else ''}"
        return Contender(
            name, lambda: None, lambda recount, _: closeloop.job(postgres, servers, recount, processes, folder)
        )

    def theirs(guarantee: str) -> Contender:
        return Contender(
            f"Kafka Streams, {guarantee}",
            jars,
            lambda recount, number: streams.job(folder, servers, recount, guarantee, number),
        )

    def python(framework: Framework) -> Contender:
        return Contender(
            framework.title,
            lambda: frameworks.install(framework),
            lambda recount, number: frameworks.job(framework, servers, recount, folder, number),
            framework.divisor,
        )

    jars = functools.cache(lambda: streams.build(folder))
    return [ours(1), ours(2), theirs("exactly_once_v2"), theirs("at_least_once"), *map(python, FRAMEWORKS)]


async def topics(servers: str, chosen: list[Contender], events: int) -> dict[int, Recount]:
    """By divisor: a topic with that share of the events. closeloop reads the one that bears its contract's name."""
    found = {}
    for divisor in sorted({contender.divisor for contender in chosen}):
        share = min(events, max(LEAST_EVENTS, events // divisor))
        name = FEEDBACK_RECEIVED.name if divisor == 1 else f"{FEEDBACK_RECEIVED.name}-{divisor}"
        say(f"filling {name} with {share:,} events\n")
        found[divisor] = await fill(servers, name, share)
    return found


async def measured(
    chosen: list[Contender], rounds: int, broker: KafkaBroker, filled: Mapping[int, Recount]
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """All contenders in turn, forwards and backwards: their runs, and why those that failed did."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in chosen}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for contender in chosen[:: -1 if number % 2 else 1]:
            if contender.name in failed:
                continue
            say(f"round {number + 1} of {rounds}: {contender.name} … ")
            recount = filled[contender.divisor]
            try:
                async with contender.job(recount, number) as job:
                    run = await measure.run(job, recount, broker.bootstrap, broker.pid or 0, LIMIT_SECONDS)
            except Failed as error:
                failed[contender.name] = str(error)
                say(f"{error}\n")
                continue
            exact = "exact" if run.exact else "NOT EXACT"
            say(f"{run.seconds:.1f} s, restart {run.restart_seconds:.1f} s, {exact}\n")
            runs[contender.name].append(run)
    return runs, failed


async def bench(events: int, rounds: int, only: Sequence[str]) -> int:
    """Install, fill, run, print; exit status 1 where a result of ours is not exact, or one of ours failed."""
    with (
        data_folder() as data,
        data_folder() as work,
        running_server() as postgres,
    ):
        await asyncio.to_thread(make_template, postgres)
        broker = KafkaBroker(data)
        broker.start()
        try:
            everyone = contenders(postgres, broker.bootstrap, work)
            found = [one for one in everyone if any(part.lower() in one.name.lower() for part in only)]
            missing = {one.name: reason for one in found if (reason := one.install())}
            chosen = [one for one in found if one.name not in missing]
            filled = await topics(broker.bootstrap, chosen, events)
            runs, failed = await measured(chosen, rounds, broker, filled)
        finally:
            broker.stop()
    failed |= missing
    around = circumstances()
    say("\n" + table(runs, failed) + "\n" + "".join(f"{name}: {value}\n" for name, value in around.items()))
    plain = {name: [vars(run) for run in some] for name, some in runs.items()}
    OUTPUT.write_text(json.dumps({"circumstances": around, "runs": plain, "failed": failed}, indent=1))
    say(f"written to {OUTPUT}\n")
    ours = {name for name in (*runs, *failed) if name.startswith("closeloop")}
    return 0 if all(name not in failed and all(run.exact for run in runs[name]) for name in ours) else 1


def say(text: str) -> None:
    """At once: a run takes long."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", default=[""], help="contenders whose name contains one of these")
    chosen = parser.parse_args()
    return asyncio.run(bench(chosen.events, chosen.rounds, chosen.only))


if __name__ == "__main__":
    sys.exit(main())
