"""`make bench-cluster`: what the cluster does on this machine, in one run: a table, and bench-cluster.json.

Three Kafka brokers (replication 3, `acks=all`, two in sync), PostgreSQL, every service and the load generator share the
same cores; compare figures of one run with each other, never with figures of another machine. Each part says what else
runs meanwhile. Every part checks its own result.
"""

import argparse
import asyncio
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.cluster import Cluster, ClusterError, Process
from shared.bus import codec
from shared.bus.connect import connect
from shared.bus.port import TopicPartition
from shared.contracts.score_updated import ScoreUpdatedV1
from shared.contracts.topics import FEEDBACK_RECEIVED, SCORE_UPDATED
from tests.load.bench import CONNECTIONS, Row, body, milliseconds, publish
from tests.load.client import Connection, Latencies, timed

OUTPUT = Path("bench-cluster.json")
SECONDS = 15.0
ORDINARY_RATE = 100.0
END_TO_END_RATES = (100.0, 250.0, 500.0)
_PROBE_EVERY = 20
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(processes: Sequence[Process]) -> float:
    """User and system time of the processes and their living children."""
    return sum(
        _cpu(member) for process in processes if process.pid for member in (process.pid, *_children(process.pid))
    )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ports_of(cluster: Cluster, service: str) -> list[int]:
    """The HTTP ports of a service's replicas."""
    return [int(process.port or 0) for process in cluster.of(service)]


async def saturate(ports: Sequence[int], key: str, numbers: Iterator[int], seconds: float) -> tuple[Latencies, float]:
    """As many requests as CONNECTIONS connections, spread over the ports, get through; (latencies, events a second)."""
    latencies = Latencies()
    until = time.monotonic() + seconds

    async def worker(port: int) -> None:
        async with Connection(port, key) as connection:
            while time.monotonic() < until:
                await timed(connection, "/v1/feedback", body(next(numbers)), latencies)

    began = time.monotonic()
    await asyncio.gather(*(worker(port) for port, _ in zip(itertools.cycle(ports), range(CONNECTIONS), strict=False)))
    if set(latencies.statuses) != {202}:
        raise RuntimeError(f"not only 202: {latencies.statuses}")
    return latencies, len(latencies.seconds) / (time.monotonic() - began)


@dataclass
class Probes:
    """Posted probes that wait for their score event, by product."""

    sent: dict[str, float] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    back: asyncio.Event = field(default_factory=asyncio.Event)

    def all_back(self) -> "asyncio.Task[bool]":
        """Done when none waits any more."""
        self.back.clear() if self.sent else self.back.set()
        return asyncio.create_task(self.back.wait())

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """From the end on: what was scored before is no probe of ours."""
        return {partition: self.ends[partition.partition] for partition in partitions}

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """They come back."""

    async def listen(self, bus_url: str, ready: asyncio.Event) -> None:
        """Note the arrival of each probe's score event on Kafka, until cancelled."""
        bus = connect(bus_url, "")
        await bus.start()
        self.ends = {number: end for number, (_, end) in (await bus.offsets(SCORE_UPDATED.name)).items()}
        consumer = bus.consumer(f"bench-{os.getpid()}-{time.monotonic_ns()}", [SCORE_UPDATED.name], self)
        await consumer.start()
        try:
            while True:
                for records in (await consumer.fetch(500, timeout_seconds=0.2)).values():
                    arrived = time.perf_counter()
                    for record in records:
                        if isinstance(data := codec.decode(record).data, ScoreUpdatedV1):
                            began = self.sent.pop(data.series.dimensions.get("product", ""), None)
                            if began is not None:
                                self.latencies.note(200, arrived - began)
                    if not self.sent:
                        self.back.set()
                if consumer.assignment():
                    ready.set()
        finally:
            await consumer.stop()
            await bus.stop()


async def end_to_end(cluster: Cluster, numbers: Iterator[int], rate: float, seconds: float) -> tuple[Probes, float]:
    """POST → score event on Kafka at `rate`. Each twentieth event is a probe on a product of its own, so that its
    series is new and the limit of one event a second and series adds nothing. (probes, events a second sent)."""
    probes, ready = Probes(), asyncio.Event()
    listener = asyncio.create_task(probes.listen(cluster.bus_url, ready))
    await asyncio.wait({listener, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    ports = ports_of(cluster, "ingest")
    free: asyncio.Queue[Connection] = asyncio.Queue()
    connections = [Connection(port, cluster.key) for port in ports for _ in range(CONNECTIONS // len(ports))]
    for connection in connections:
        await connection.__aenter__()
        free.put_nowait(connection)
    answers = Latencies()

    async def one(number: int, product: str | None) -> None:
        connection = await free.get()
        if product:
            probes.sent[product] = time.perf_counter()
        await timed(connection, "/v1/feedback", body(number, product), answers)
        free.put_nowait(connection)

    began = time.monotonic()
    tasks = []
    for turn in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
        product = f"probe-{rate:g}-{turn}" if turn % _PROBE_EVERY == 0 else None
        tasks.append(asyncio.create_task(one(next(numbers), product)))
    await asyncio.gather(*tasks)
    sent_rate = len(tasks) / (time.monotonic() - began)
    await asyncio.wait({listener, probes.all_back()}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    if listener.done():
        listener.result()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    for connection in connections:
        await connection.__aexit__()
    if probes.sent:
        raise RuntimeError(f"{len(probes.sent)} probes had no score event after a minute")
    return probes, sent_rate


async def on_the_log(cluster: Cluster) -> int:
    """Events of feedback.received.v1."""
    bus = connect(cluster.bus_url, "")
    await bus.start()
    try:
        return sum(end for _, end in (await bus.offsets(FEEDBACK_RECEIVED.name)).values())
    finally:
        await bus.stop()


async def measure(cluster: Cluster, seconds: float) -> list[Row]:
    """All parts, the quiet ones first."""
    rows: list[Row] = []
    numbers = iter(range(10**9))
    ingest, scoring = ports_of(cluster, "ingest"), cluster.of("scoring")
    brokers = cluster.of("kafka")
    await saturate(ingest, cluster.key, numbers, 3)  # warm up: connections, prepared statements, imports
    for name in ("routing", "notifier"):
        for process in cluster.of(name):
            await asyncio.to_thread(process.terminate)
    await end_to_end(cluster, numbers, ORDINARY_RATE, 5)
    for rate in END_TO_END_RATES:
        cpu = [cpu_seconds(part) for part in (cluster.of("ingest"), scoring, brokers, [cluster.processes["postgres"]])]
        probes, sent = await end_to_end(cluster, numbers, rate, seconds)
        used = [
            (cpu_seconds(part) - before) / (rate * seconds) * 1e6
            for part, before in zip(
                (cluster.of("ingest"), scoring, brokers, [cluster.processes["postgres"]]), cpu, strict=True
            )
        ]
        rows.append(
            Row(
                f"POST to score event on Kafka at {rate:g} events/s",
                milliseconds(probes.latencies),
                f"{sent:,.0f}/s sent, {len(probes.latencies.seconds)} probes, ingest, scoring and brokers only; CPU "
                f"seconds per million events: ingest {used[0]:,.0f}, scoring {used[1]:,.0f}, brokers {used[2]:,.0f}, "
                f"PostgreSQL {used[3]:,.0f}",
            )
        )
    for process in scoring:
        await asyncio.to_thread(process.terminate)
    rates = []
    for count in (1, len(ingest)):
        before, cpu_before = await on_the_log(cluster), cpu_seconds(cluster.of("ingest"))
        latencies, rate = await saturate(ingest[:count], cluster.key, numbers, seconds)
        used_each = (cpu_seconds(cluster.of("ingest")) - cpu_before) / len(latencies.seconds) * 1e6
        if (written := await on_the_log(cluster) - before) != len(latencies.seconds):
            raise RuntimeError(f"{len(latencies.seconds)} were accepted and {written} are on the log")
        rates.append(rate)
        rows.append(
            Row(
                f"accepted by {count} ingest process{'es' if count > 1 else ''}, acks=all",
                f"{rate:,.0f}/s",
                f"{milliseconds(latencies)} at {CONNECTIONS} connections, brokers only beside; {used_each:,.0f} µs CPU "
                "of ingest each",
            )
        )
    rows.append(
        Row(f"{len(ingest)} ingest processes against one", f"{rates[1] / rates[0]:.2f} ×", f"{os.cpu_count()} cores")
    )
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure the cluster on this machine.")
    parser.add_argument("--brokers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each part")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="closeloop-bench-"))
    cluster = Cluster(
        folder,
        brokers=options.brokers,
        replicas={"ingest": 2},
        restarts=False,
        say=lambda text: print(text, flush=True),
    )
    try:
        cluster.start()
        rows = asyncio.run(measure(cluster, options.seconds))
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    publish(f"closeloop, cluster: load generator, {options.brokers} brokers, PostgreSQL and services", rows, OUTPUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
