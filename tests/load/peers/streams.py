"""Kafka Streams' contender (kafka_streams/Job.java): jars by Maven, compiled by the JDK."""

import asyncio
import shutil
import signal
import struct
import subprocess
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.kafka.broker import find_java
from tests.load.peers import measure
from tests.load.peers.measure import Run
from tests.load.peers.topic import PARTITIONS, Recount

_SOURCE = Path(__file__).with_name("kafka_streams")
_WINDOW_DAYS = 7
_A_DAY_MS = 86_400_000
_READ_SECONDS = 3.0


def build(folder: Path) -> str | None:
    """Fetch and compile into a folder; why it cannot be done, or None."""
    maven, compiler = shutil.which("mvn"), shutil.which("javac")
    if not maven or not compiler:
        return "needs Maven and a JDK (javac)"
    jars, classes = folder / "jars", folder / "classes"
    fetch = [maven, "-B", "-q", "-f", str(_SOURCE / "pom.xml"), "dependency:copy-dependencies"]
    for command in (
        [*fetch, f"-DoutputDirectory={jars}"],
        [compiler, "-cp", f"{jars}/*", "-d", str(classes), str(_SOURCE / "Job.java")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{Path(command[0]).name} failed: {(done.stdout + done.stderr).strip()[:200]}"
    return None


async def run(built: Path, servers: str, topic: str, recount: Recount, name: str, guarantee: str, limit: float) -> Run:
    """The whole topic under a guarantee (`exactly_once_v2` or `at_least_once`)."""
    events = int(recount.counts[:, :, 0].sum())
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(f"{name}-out", PARTITIONS, 1, topic_configs={"retention.ms": "-1"})])
    process = _start(built, name, servers, topic, f"{name}-out", name, guarantee, str(built / f"{name}-state"))
    try:

        async def through() -> bool:
            offsets = await admin.list_consumer_group_offsets(name)
            return sum(max(0, one.offset) for one in offsets.values()) >= events

        seconds = await measure.until(through, lambda: process.poll() is None, limit)
        cost = measure.cpu_seconds([process.pid]), 0.0, measure.peak_bytes([process.pid])
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 60)
        await admin.close()
    return Run(seconds, *cost, exact=await _is_exact(servers, f"{name}-out", recount))


def _start(built: Path, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
    paths = f"{built / 'classes'}:{built / 'jars'}/*"
    with (built / f"{name}.log").open("w") as log:
        return subprocess.Popen([find_java(), "-Xmx1g", "-cp", paths, "Job", *arguments], stdout=log, stderr=log)


async def _is_exact(servers: str, topic: str, recount: Recount) -> bool:
    """The last record of each key and window against the recount, window by window."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    last: dict[bytes, bytes] = {}
    try:
        while batch := await consumer.getmany(timeout_ms=int(_READ_SECONDS * 1000), max_records=20_000):
            last |= {record.key: record.value for records in batch.values() for record in records}
    finally:
        await consumer.stop()
    numbers = {"|".join(recount.key_of(number)): number for number in range(len(recount.counts))}
    first = int(recount.first_day.timestamp() * 1000)
    found = set()
    for key, value in last.items():
        number = numbers[key[:-8].decode()]
        day = (struct.unpack(">q", key[-8:])[0] - first) // _A_DAY_MS
        days = recount.counts[number, max(0, day) : max(0, day + _WINDOW_DAYS)]
        if struct.unpack(">iii", value) != tuple(days.sum(axis=0).tolist()):
            return False
        found.add((number, day))
    return len(found) >= len(recount.counts) * recount.counts.shape[1]
