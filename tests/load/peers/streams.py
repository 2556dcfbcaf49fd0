"""Kafka Streams' contender (kafka_streams/Job.java): jars by Maven, compiled by the JDK."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from deploy.kafka.broker import find_java
from tests.load.peers import windows
from tests.load.peers.measure import Job, Process
from tests.load.peers.topic import Recount

_SOURCE = Path(__file__).with_name("kafka_streams")


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


@dataclass(frozen=True)
class _Streams:
    built: Path
    servers: str
    name: str
    guarantee: str
    recount: Recount
    admin: AIOKafkaAdminClient
    database = None

    @property
    def logs(self) -> list[Path]:
        return [self.built / f"{self.name}.log"]

    @property
    def output(self) -> str:
        return f"{self.name}-out"

    def start(self) -> list[Process]:
        arguments = self.servers, self.recount.topic, self.output, self.name, self.guarantee
        paths = f"{self.built / 'classes'}:{self.built / 'jars'}/*"
        command = [find_java(), "-Xmx1g", "-cp", paths, "Job", *arguments, str(self.built / f"{self.name}-state")]
        with self.logs[0].open("w") as log:
            return [subprocess.Popen(command, stdout=log, stderr=log)]

    async def counted(self) -> int:
        return await windows.committed(self.admin, self.name, self.recount.topic)

    async def is_exact(self) -> bool:
        return await windows.is_exact(self.servers, self.output, self.recount)


@asynccontextmanager
async def job(built: Path, servers: str, recount: Recount, guarantee: str, number: int) -> AsyncIterator[Job]:
    """The n-th run under a guarantee (`exactly_once_v2` or `at_least_once`), with a group and a state of its own."""
    name = f"streams-{guarantee}-{number}"
    async with windows.output_topic(servers, f"{name}-out") as admin:
        yield _Streams(built, servers, name, guarantee, recount, admin)
