"""`make bench-ingest`: what a signed webhook costs, from its bytes to a durable event and the 202, beside others.

A real Kafka broker, and on the same cores in turn: an ASGI app that only reads the body and answers (what HTTP itself
costs), closeloop's ingest, a plain FastAPI endpoint with aiokafka, and the same endpoint as a Go program (net/http and
franz-go). All but the first verify the signature, check the fields and publish with acks from all before they answer;
the broker is asked how many events arrived. Then closeloop alone imports many lines, with words
and without. Prints a table and writes bench-ingest.json; exit status 1 where an event of ours is missing.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from deploy.kafka.broker import KafkaBroker, free_port
from services.ingest.admin import SourceAdmin
from services.ingest.cipher import cipher_of
from services.ingest.config import IngestSettings
from shared.auth.keys import Role, new_key
from shared.bus import codec
from shared.bus.connect import connect
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.settings import load
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.runtime.loop import run
from tests.load.ingest.caller import closed_loop, paced
from tests.load.ingest.imports import IMPORTS, LINES, Import, body, bulk_lines, imports
from tests.load.peers.measure import cpu_seconds
from tests.load.peers.report import circumstances
from tests.support.postgres import data_folder, fresh_database, make_template, running_server

Count = Callable[[], Awaitable[int]]
OUTPUT = Path("bench-ingest.json")
HERE = Path(__file__).parent
SECRET = "bench-secret-0123456789-abcdefghij"
SETTINGS = {"signature": {"scheme": "hmac", "header": "X-Signature"}}
CONNECTIONS = 256
WARM_UP = 2_000
PACED_SECONDS = 5.0
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Contender:
    """`command` and `environment` start it; `port` and `path` are where it listens."""

    name: str
    command: list[str]
    environment: dict[str, str]
    port: int
    path: str
    publishes: bool


@dataclass(frozen=True)
class Run:
    """One run: processor time of its processes for a request, requests a second when saturated, and the 99th percentile
    of the time to the answer at half of that."""

    cpu_microseconds: float
    requests_per_second: float
    p99_milliseconds: float
    arrived: bool


def requests_for(contender: Contender, count: int, tag: str) -> list[bytes]:
    """Signed requests as they go over the wire, each with an id of its own."""
    chance = random.Random(tag)
    made = []
    for number in range(count):
        content = body(chance, f"{tag}-{number}")
        signature = hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
        head = (
            f"POST {contender.path} HTTP/1.1\r\nHost: 127.0.0.1:{contender.port}\r\nUser-Agent: shop/1.0\r\n"
            f"Content-Type: application/json\r\nX-Signature: {signature}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        made.append(head.encode() + content)
    return made


@contextmanager
def started(contender: Contender, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Its process, listening."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            contender.command, env={**os.environ, **contender.environment}, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def until_it_listens(contender: Contender, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when it takes connections."""
    began = time.monotonic()
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", contender.port)
            writer.close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                raise SystemExit(f"{contender.name} did not start:\n{log.read_text()[-2000:]}") from None
            await asyncio.sleep(0.05)


async def measured(contender: Contender, count: int, tag: str, arrived: Count, log: Path) -> Run:
    """Start it, warm it up, load it, pace it."""
    with started(contender, log) as process:
        await until_it_listens(contender, process, log)
        before = await arrived()
        warm = requests_for(contender, WARM_UP, f"{tag}-warm")
        wanted = requests_for(contender, count, tag)
        _, statuses = await closed_loop(contender.port, warm, CONNECTIONS)
        if set(statuses) != {202}:
            raise SystemExit(f"{contender.name} answered {statuses}:\n{log.read_text()[-2000:]}")
        cpu = cpu_seconds([process.pid])
        seconds, statuses = await closed_loop(contender.port, wanted, CONNECTIONS)
        cpu = cpu_seconds([process.pid]) - cpu
        rate = count / seconds / 2
        some = requests_for(contender, int(rate * PACED_SECONDS), f"{tag}-paced")
        took = await paced(contender.port, some, rate, CONNECTIONS)
        sent = WARM_UP + statuses.get(202, 0) + len(some)
        complete = statuses == {202: count} and (not contender.publishes or await arrived() - before == sent)
    return Run(cpu / count * 1e6, count / seconds, took[int(len(took) * 0.99)] * 1e3, complete)


async def imported(contender: Contender, what: str, key: str, arrived: Count, log: Path) -> Import:
    """One import of LINES lines, after a tenth of that to warm up."""
    chance = random.Random("import")
    lines = [IMPORTS[what](chance, f"line-{number}") + b"\n" for number in range(LINES)]
    with started(contender, log) as process:
        await until_it_listens(contender, process, log)
        await imports(contender.port, key, b"".join(lines[: LINES // 10]))
        before, cpu = await arrived(), cpu_seconds([process.pid])
        seconds, is_accepted = await imports(contender.port, key, b"".join(lines))
        cpu = cpu_seconds([process.pid]) - cpu
        complete = is_accepted and await arrived() - before == LINES
    return Import(sum(map(len, lines)) / LINES, LINES / seconds, LINES / cpu, complete)


@asynccontextmanager
async def ours(url: str, servers: str) -> AsyncIterator[tuple[Contender, str]]:
    """closeloop's ingest with a source and a key."""
    settings = load(IngestSettings, database_url=url)
    database = Database(url, "ingest", encode=codec.encode, pool_size=1)
    platform = Database(url, "platform", encode=codec.encode, pool_size=1)
    try:
        admin = SourceAdmin(database, cipher_of(settings.secrets_key, settings.data_dir))
        source = await admin.add("bench", "shop", "generic", SETTINGS, secret=SECRET)
        key = new_key()
        await ApiKeys(platform).add(
            key_id=key.id, workspace="bench", name="bench", roles=[Role.OPERATOR], secret_hash=key.secret_hash
        )
    finally:
        await database.stop()
        await platform.stop()
    port = free_port()
    environment = {
        "DATABASE_URL": url,
        "BUS_URL": f"kafka://{servers}",
        "HTTP_PORT": str(port),
        "LOG_LEVEL": "warning",
        "INGEST_REQUESTS_PER_SECOND": "1000000",
        "DATA_DIR": str(settings.data_dir),
    }
    yield (
        Contender("closeloop ingest", [sys.executable, "-m", "services.ingest"], environment, port, source.path, True),
        key.text,
    )


def others(servers: str, work: Path) -> tuple[list[Contender], dict[str, str]]:
    """The other contenders, and why some cannot be measured."""
    found, missing = [], {}
    for name, module, publishes in (("bare ASGI app", "bare", False), ("FastAPI and aiokafka", "plain", True)):
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", f"tests.load.ingest.{module}:app", "--port", str(port)]
        command += [
            "--log-level",
            "warning",
            "--no-access-log",
            "--no-server-header",
            "--no-date-header",
            "--no-proxy-headers",
        ]
        environment = {"BENCH_SECRET": SECRET, "BENCH_KAFKA": servers}
        found.append(Contender(name, command, environment, port, "/v1/sources/bench", publishes))
    if shutil.which("go") is None:
        missing["Go, net/http and franz-go"] = "go was not found"
        return found, missing
    program = work / "gateway"
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."], cwd=HERE / "gateway", capture_output=True, text=True, check=False
    )
    if built.returncode:
        missing["Go, net/http and franz-go"] = (built.stderr.strip().splitlines() or ["go build failed"])[-1]
        return found, missing
    port = free_port()
    environment = {"BENCH_SECRET": SECRET, "BENCH_KAFKA": servers, "BENCH_PORT": str(port)}
    found.append(Contender("Go, net/http and franz-go", [str(program)], environment, port, "/v1/sources/bench", True))
    return found, missing


async def bench(count: int, rounds: int, only: list[str]) -> int:
    """Run everything; 1 where an event of ours is missing."""
    with data_folder() as data, data_folder() as work, running_server() as postgres:
        await asyncio.to_thread(make_template, postgres)
        broker = KafkaBroker(data)
        broker.start()
        try:
            with fresh_database(postgres) as url:
                os.environ["DATA_DIR"] = str(work)
                bus = connect(f"kafka://{broker.bootstrap}", url)
                await bus.start()
                await bus.create_topics([FEEDBACK_RECEIVED])

                async def arrived() -> int:
                    return sum(end for _, end in (await bus.offsets(FEEDBACK_RECEIVED.name)).values())

                async with ours(url, broker.bootstrap) as (mine, key):
                    rest, missing = others(broker.bootstrap, work)
                    everyone = [rest[0], mine, *rest[1:]]
                    chosen = [one for one in everyone if any(part.lower() in one.name.lower() for part in only)]
                    runs = await in_turn(chosen, count, rounds, arrived, work)
                    bulk = {
                        what: [await imported(mine, what, key, arrived, work / "import.log") for _ in range(rounds)]
                        for what in IMPORTS
                    }
                await bus.stop()
        finally:
            broker.stop()
    say(
        "\n"
        + table(runs, missing)
        + bulk_lines(bulk, bare_cost(runs))
        + "".join(f"{k}: {v}\n" for k, v in circumstances().items())
    )
    plain = {name: [vars(one) for one in some] for name, some in runs.items()}
    imported_plain = {what: [vars(one) for one in some] for what, some in bulk.items()}
    OUTPUT.write_text(
        json.dumps({"circumstances": circumstances(), "runs": plain, "imports": imported_plain}, indent=1)
    )
    complete = all(one.arrived for one in (*runs.get(mine.name, []), *chain.from_iterable(bulk.values())))
    return 0 if complete else 1


async def in_turn(chosen: list[Contender], count: int, rounds: int, arrived: Count, work: Path) -> dict[str, list[Run]]:
    """All contenders, forwards and backwards."""
    runs: dict[str, list[Run]] = {one.name: [] for one in chosen}
    for number in range(rounds):
        for one in chosen[:: -1 if number % 2 else 1]:
            found = await measured(one, count, f"r{number}-{one.port}", arrived, work / f"{one.port}.log")
            runs[one.name].append(found)
            say(f"round {number + 1} of {rounds}: {one.name}: {found.cpu_microseconds:.1f} µs a request\n")
    return runs


def table(runs: dict[str, list[Run]], missing: dict[str, str]) -> str:
    """Medians of the rounds."""
    form = "{:<28} {:>12} {:>8} {:>13} {:>9} {:>9}"
    lines = [form.format("contender", "CPU µs/req", "× bare", "spread", "req/s", "p99 ms")]
    bare = bare_cost(runs)
    for name, some in runs.items():
        cost = sorted(one.cpu_microseconds for one in some)
        middle = statistics.median(cost)
        lines.append(
            form.format(
                name,
                f"{middle:.1f}",
                f"{middle / bare:.2f}" if bare else "",
                f"{cost[0]:.1f}–{cost[-1]:.1f}",
                f"{statistics.median(one.requests_per_second for one in some):,.0f}",
                f"{statistics.median(one.p99_milliseconds for one in some):.1f}",
            )
            + ("" if all(one.arrived for one in some) else "  EVENTS ARE MISSING")
        )
    lines += [f"{name:<28} not measured: {reason}" for name, reason in missing.items()]
    return "\n".join(lines) + "\n"


def bare_cost(runs: dict[str, list[Run]]) -> float | None:
    """CPU µs of a request of the bare app."""
    some = runs.get("bare ASGI app")
    return statistics.median(one.cpu_microseconds for one in some) if some else None


def say(text: str) -> None:
    """At once: a run takes a while."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""], help="contenders whose name contains one of these")
    chosen = parser.parse_args()
    return run(bench(chosen.requests, chosen.rounds, chosen.only))


if __name__ == "__main__":
    sys.exit(main())
