"""`make bench`: what the single node does on this machine, in one run. Prints a table and writes bench.json.

Load generator, node and PostgreSQL share the same cores; compare figures of one run with each other, never with
figures of another machine. Every part checks its own result.
"""

import asyncio
import json
import os
import platform
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.load.client import Connection, Latencies, timed
from tests.load.node import NodeProcess
from tests.support.smtp import smtp_server

OUTPUT = Path("bench.json")
CONNECTIONS = 32
SATURATED_SECONDS = 10.0
PACED_SECONDS = 10.0
BACKLOG = 30_000
SSE_RATE = 50.0
SSE_SECONDS = 20.0


@dataclass
class Row:
    """One line of the table."""

    what: str
    figure: str
    note: str = ""


def body(number: int, product: str | None = None) -> bytes:
    """A survey answer like those that shops send (about 450 bytes)."""
    chance = random.Random(number)
    return json.dumps(
        {
            "id": f"bench-{os.getpid()}-{number}",
            "kind": "survey_response",
            "channel": "email",
            "touchpoint": chance.choice(["post_purchase", "delivery", "support_call", "store"]),
            "department": chance.choice(["sales", "support", "marketing"]),
            "product": product or chance.choice(["sofa", "lamp", "rug"]),
            "survey": {"id": "bench", "type": "transactional"},
            "score": chance.randrange(11),
            "metric": "nps",
            "customer": {"id": f"c{number % 5000}", "email": f"c{number % 5000}@example.com"},
            "text": "The driver was friendly, but the lamp came a day late.",
            "language": "en",
        }
    ).encode()


def publish(title: str, rows: list[Row], output: Path) -> None:
    """Print the table, and write it as JSON."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    width = max(len(row.what) for row in rows)
    print(f"{title} on {machine}\n")
    for row in rows:
        print(f"{row.what:{width}}  {row.figure:>28}  {row.note}")
    output.write_text(json.dumps({"machine": machine, "rows": [vars(row) for row in rows]}, indent=2) + "\n")
    print(f"\nwritten to {output}")


async def saturate(node: NodeProcess, numbers: Iterator[int], seconds: float) -> tuple[Latencies, float]:
    """As many requests as CONNECTIONS connections get through; (latencies, seconds)."""
    latencies = Latencies()
    until = time.monotonic() + seconds

    async def worker() -> None:
        async with Connection(node.port, node.key) as connection:
            while time.monotonic() < until:
                await timed(connection, "/v1/feedback", body(next(numbers)), latencies)

    began = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return latencies, time.monotonic() - began


async def paced(node: NodeProcess, numbers: Iterator[int], rate: float, seconds: float) -> Latencies:
    """`rate` requests a second, each started on its own schedule, whatever the others take."""
    latencies = Latencies()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    tasks = []
    connections = [Connection(node.port, node.key) for _ in range(CONNECTIONS)]
    for connection in connections:
        await connection.__aenter__()
        free.put_nowait(connection)

    async def one(number: int) -> None:
        connection = await free.get()
        await timed(connection, "/v1/feedback", body(number), latencies)
        free.put_nowait(connection)

    began = time.monotonic()
    for turn in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(next(numbers))))
    await asyncio.gather(*tasks)
    for connection in connections:
        await connection.__aexit__()
    return latencies


async def consumed(node: NodeProcess) -> dict[str, int]:
    """Events whose effects are committed, by group."""
    async with Connection(node.port, node.key) as connection:
        _, text = await connection.request("GET", "/metrics")
    found: dict[str, int] = {}
    pattern = r'^closeloop_consumed_events_total\{group="(\w+)",topic="feedback.received.v1"\} ([0-9.e+]+)$'
    for group, count in re.findall(pattern, text.decode(), re.MULTILINE):
        found[group] = found.get(group, 0) + int(float(count))
    return found


async def drained(node: NodeProcess, before: dict[str, int], events: int, groups: tuple[str, ...]) -> dict[str, float]:
    """Seconds until each group has handled `events` more than `before`."""
    began = time.monotonic()
    done: dict[str, float] = {}
    while len(done) < len(groups):
        now = await consumed(node)
        for group in groups:
            if group not in done and now.get(group, 0) - before.get(group, 0) >= events:
                done[group] = time.monotonic() - began
        if time.monotonic() - began > 300:
            raise RuntimeError(f"not drained after 300 s: {now}, wanted {events} more than {before}")
        await asyncio.sleep(0.05)
    return done


async def score_latency(node: NodeProcess, rate: float, seconds: float) -> Latencies:
    """POST → score event on SSE. Each tenth request is a probe on a product of its own, so that its series is new and
    the limit of one event a second and series does not hide or add anything; the others load the common series."""
    sent: dict[str, float] = {}
    latencies = Latencies()
    ready, finished = asyncio.Event(), asyncio.Event()

    async def listen(connection: Connection) -> None:
        reader = await connection.events("/v1/scores/stream?window=7d")
        ready.set()
        async for line in reader:
            found = re.search(rb'"product":"(probe-\d+)"', line)
            began = sent.pop(found[1].decode(), None) if found else None
            if began is not None:
                latencies.note(200, time.perf_counter() - began)
            if not sent and finished.is_set():
                return

    async with Connection(node.port, node.key) as stream, Connection(node.port, node.key) as poster:
        listener = asyncio.create_task(listen(stream))
        await ready.wait()
        began = time.monotonic()
        for turn in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
            probe = f"probe-{turn}" if turn % 10 == 0 else None
            if probe:
                sent[probe] = time.perf_counter()
            status, _ = await poster.request("POST", "/v1/feedback", body(10_000_000 + turn, probe))
            assert status == 202, status
        finished.set()
        status, _ = await poster.request("POST", "/v1/feedback", body(20_000_000))  # one more event wakes the listener
        try:
            async with asyncio.timeout(10):
                await listener
        except TimeoutError:
            raise RuntimeError(f"{len(sent)} probes never reached the stream") from None
    return latencies


def milliseconds(latencies: Latencies) -> str:
    """p50 and p99."""
    return f"p50 {latencies.percentile(0.5) * 1000:.1f} ms, p99 {latencies.percentile(0.99) * 1000:.1f} ms"


async def measure(node: NodeProcess) -> list[Row]:
    """All parts that need a running node without other load."""
    rows: list[Row] = []
    numbers = iter(range(10**9))
    await paced(node, numbers, 20, 3)  # warm up: connections, prepared statements, imports
    # First, while no backlog of follow-ups competes: this is what a brand sees on an ordinary day.
    stream = await score_latency(node, SSE_RATE, SSE_SECONDS)
    rows.append(
        Row(f"POST to score on SSE at {SSE_RATE:.0f} events/s", milliseconds(stream), f"{len(stream.seconds)} probes")
    )
    before = await consumed(node)
    cpu = node.cpu_seconds()
    full, seconds = await saturate(node, numbers, SATURATED_SECONDS)
    assert set(full.statuses) == {202}, full.statuses
    rate = len(full.seconds) / seconds
    used = (node.cpu_seconds() - cpu) / len(full.seconds) * 1e6
    note = f"{milliseconds(full)} at {CONNECTIONS} connections; {used:,.0f} µs CPU each, consumers included"
    rows.append(Row("accepted, one request each", f"{rate:,.0f}/s", note))
    await drained(node, before, len(full.seconds), ("scoring", "routing", "notifier"))
    half = await paced(node, numbers, rate / 4, PACED_SECONDS)
    rows.append(Row("accepted at a quarter of that rate", f"{rate / 4:,.0f}/s", milliseconds(half)))
    before = await consumed(node)
    lines = b"\n".join(body(next(numbers)) for _ in range(BACKLOG))
    async with Connection(node.port, node.key) as connection:
        began = time.monotonic()
        status, answer = await connection.request("POST", "/v1/feedback/import", lines, "application/x-ndjson")
        imported = time.monotonic() - began
    counts = json.loads(answer)
    assert (status, counts["accepted"]) == (202, BACKLOG), answer[:500]
    rows.append(
        Row("imported as NDJSON", f"{BACKLOG / imported:,.0f} events/s", f"{BACKLOG:,} in one request, durable")
    )
    done = await drained(node, before, BACKLOG, ("scoring", "routing", "notifier"))
    for group, took in done.items():
        rows.append(Row(f"{group}, from the log to committed effects", f"{BACKLOG / (took + imported):,.0f} events/s",
                        "while the other groups work too, import included"))  # fmt: skip
    return rows


async def ordinary_day(folder: Path) -> list[Row]:
    """A node with a mail server that takes every mail, as a brand has one: follow-ups are part of the work."""
    async with smtp_server() as mails:
        node = NodeProcess(folder, SMTP_HOST="127.0.0.1", SMTP_PORT=str(mails.port))
        await asyncio.to_thread(node.start)
        try:
            return await measure(node)
        finally:
            await asyncio.to_thread(node.stop)


async def first_score(node: NodeProcess, began: float) -> float:
    """Seconds from the start of the process to the first published score."""
    while time.monotonic() - began < 120:
        async with Connection(node.port, node.key) as connection:
            status, answer = await connection.request("GET", "/v1/scores?window=30d")
        if status == 200 and any(item.get("n") for item in json.loads(answer)["items"]):
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise RuntimeError("no score after 120 s")


def demo_start(folder: Path) -> list[Row]:
    """`make run` on an empty folder, without the installation."""
    began = time.monotonic()
    node = NodeProcess(folder, "--demo")
    ready = node.start()
    try:
        seconds = asyncio.run(first_score(node, began))
    finally:
        stopping = time.monotonic()
        code = node.stop()
    stopped = time.monotonic() - stopping
    again = NodeProcess(folder, "--demo")
    second = again.start()
    again.stop()
    assert code == 0, node.output()[-2000:]
    return [
        Row(
            "make run, empty folder: accepts requests after", f"{ready:.1f} s", "set-up of the environment not counted"
        ),
        Row("make run: first score after", f"{seconds:.1f} s", "of 60 days of imported history"),
        Row("Ctrl-C to exit", f"{stopped:.1f} s", "with the demo's traffic"),
        Row("make run, second time: accepts requests after", f"{second:.1f} s"),
    ]


def main() -> None:
    """Measure, print, write."""
    folder = Path(tempfile.mkdtemp(prefix="closeloop-bench-"))
    try:
        rows = asyncio.run(ordinary_day(folder / "node"))
        rows += demo_start(folder / "demo")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    publish("closeloop, single node: load generator, node and PostgreSQL", rows, OUTPUT)


if __name__ == "__main__":
    main()
