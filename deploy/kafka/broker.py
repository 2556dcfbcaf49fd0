"""Real Apache Kafka brokers (KRaft, loopback) without a container engine: Maven fetches the jars, Java runs them.

`python deploy/kafka/broker.py [--port N] [--data DIR]` stays until Ctrl-C; tests use `KafkaBroker`; deploy/cluster
starts several nodes of one cluster.
Needs Java 17 or newer and Maven. The jars are fetched once, into .cache/kafka (KAFKA_CACHE overrides).
"""

import argparse
import base64
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
ROOT = POM.parents[2]
HOST = "127.0.0.1"
DEFAULT_PORT = 9092
LEAST_JAVA = 17
FETCH_TIMEOUT_SECONDS = 600
START_TIMEOUT_SECONDS = 60
_STAMP = "complete"
HEAP = "512m"
LOG = "broker.log"
# Brokers of one machine start and stop often, and share its cores with what they serve: the quick compiler alone and
# the plain collector halve the processor time of a start (7.3 → 3.8 s).
JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

# The broker must never be the one to refuse, and never the one to invent a topic (delivery.md).
SETTINGS = {
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "message.max.bytes": str(1024 * 1024),
    "replica.fetch.max.bytes": str(1024 * 1024),
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # a broker that was killed comes back as soon as its old registration has expired: 9 s by default
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # eleven threads that hand every request on cost more than they bring on a machine that others share
    "num.network.threads": "1",
    "num.io.threads": "2",
    # the first member of a group need not wait for others on one machine
    "group.initial.rebalance.delay.ms": "0",
}

_LOG4J = """\
status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c{{1}} %m%n
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{{1}} %m%n
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
rootLogger.appenderRef.console.ref = console
rootLogger.appenderRef.console.level = error
"""


class BrokerError(Exception):
    """The broker cannot run; one line says why and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """One broker that is also a controller. A cluster is several of these with the same voters and cluster id."""

    node_id: int
    port: int
    controller_port: int
    advertised_port: int | None = None  # where clients are sent to, when something stands in between

    @property
    def voter(self) -> str:
        """Its place in controller.quorum.voters."""
        return f"{self.node_id}@{HOST}:{self.controller_port}"

    def properties(self, data: Path, voters: str, settings: Mapping[str, str] = SETTINGS) -> dict[str, str]:
        """Its whole server.properties."""
        return {
            **settings,
            "node.id": str(self.node_id),
            "process.roles": "broker,controller",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.advertised_port or self.port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": voters,
            "log.dirs": str(data / "log"),
        }


class KafkaBroker:
    """A broker in a folder: `start`, `stop`, `kill`, `restart` on the same data and ports, as often as wanted."""

    def __init__(self, data: Path | None = None, port: int = 0) -> None:
        """`data` empty: a temporary folder, removed by `stop`. `port` 0: any free one, kept over restarts."""
        self._temporary = data is None
        self._data = (data or Path(tempfile.mkdtemp(prefix="closeloop-kafka-"))).resolve()
        self._node = Node(1, port or free_port(), free_port())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{HOST}:{self._node.port}"

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self._data / LOG

    def start(self) -> "KafkaBroker":
        """Fetch (once), format (once) and start; returns when the broker answers. Raises BrokerError."""
        if self.pid:
            return self
        properties = self._node.properties(self._data, voters=self._node.voter)
        command = prepare(self._data, properties, cluster_id())
        with (self._data / "console.log").open("ab") as console:
            # its own session: a Ctrl-C in the terminal is ours to turn into an orderly stop
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._wait_until_ready(self._process)
        return self

    def shut_down(self, timeout_seconds: float = 15) -> None:
        """Shut down in order, by force after the timeout; the data stays for `start`."""
        self._end(signal.SIGTERM, timeout_seconds)

    def stop(self) -> None:
        """Shut down for good; a temporary folder is removed."""
        self.shut_down()
        if self._temporary:
            shutil.rmtree(self._data, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL, as a crash; the data stays for `start`."""
        self._end(signal.SIGKILL, 15)

    def restart(self) -> None:
        """Shut down in order and start again: same data, same port."""
        self.shut_down()
        self.start()

    def _end(self, sign: signal.Signals, timeout_seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        if wait_until_answers(self._node.port, START_TIMEOUT_SECONDS, lambda: process.poll() is None):
            return
        code = process.poll()
        self.kill()
        happened = "was not ready in time" if code is None else f"ended at start with exit code {code}"
        raise BrokerError(f"the broker {happened}; its reasons are in {self.log}")


def prepare(
    data: Path, properties: Mapping[str, str], cluster: str, heap: str = HEAP, format_options: Sequence[str] = ()
) -> list[str]:
    """The command that runs a broker in this folder, which is made, configured and (once) formatted as a member of the
    cluster with this id. Raises BrokerError."""
    java = find_java()
    classpath = f"{fetch_jars()}{os.sep}*"
    data.mkdir(parents=True, exist_ok=True)
    config = data / "server.properties"
    write_properties(config, properties)
    log4j = data / "log4j2.properties"
    log4j.write_text(_LOG4J.format(log=data / LOG))
    command = [java, *JAVA_OPTIONS, f"-Xmx{heap}", f"-Dlog4j2.configurationFile={log4j}", "-cp", classpath]
    if not (data / "log" / "meta.properties").exists():
        tool = [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(config)]
        tool += format_options
        done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_SECONDS)
        if done.returncode:
            raise BrokerError(f"the data folder {data} cannot be formatted: {last_line(done.stderr or done.stdout)}")
    return [*command, "kafka.Kafka", str(config)]


def find_java() -> str:
    """A java that is new enough."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if not java or not Path(java).exists():
        raise BrokerError(
            f"java was not found; install Java {LEAST_JAVA} or newer (apt install openjdk-17-jre-headless)"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if not version or int(version[1]) < LEAST_JAVA:
        found = version[1] if version else "an unknown version"
        raise BrokerError(f"{java} is Java {found}; Kafka needs {LEAST_JAVA} or newer: install one or set JAVA_HOME")
    return java


def kafka_version() -> str:
    """What pom.xml asks for."""
    found = re.search(r"<kafka\.version>(.+?)<", POM.read_text())
    if not found:
        raise BrokerError(f"{POM} names no kafka.version")
    return found[1]


def fetch_jars() -> Path:
    """The folder with all jars; fetched when the cache has none for this pom. Safe to call from several processes."""
    cache = Path(os.environ.get("KAFKA_CACHE") or ROOT / ".cache" / "kafka").resolve()
    jars = cache / kafka_version()
    stamp = hashlib.sha256(POM.read_bytes()).hexdigest()
    with locked(cache):
        mark = jars / _STAMP
        if mark.exists() and mark.read_text() == stamp:
            return jars
        mvn = shutil.which("mvn")
        if not mvn:
            raise BrokerError("mvn was not found; it fetches Kafka's jars: install Maven (Debian: apt install maven)")
        shutil.rmtree(jars, ignore_errors=True)
        jars.mkdir(parents=True)
        command = [mvn, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_SECONDS)
        if done.returncode:
            reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), last_line(done.stderr))
            raise BrokerError(f"Maven could not fetch Kafka {kafka_version()}; is its repository in reach? {reason}")
        mark.write_text(stamp)
    return jars


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Java's format, one a line."""
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def cluster_id() -> str:
    """A random id in the form that KRaft wants."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def last_line(text: str) -> str:
    """The line of a failed command's output that most often says why."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def wait_until_answers(port: int, timeout_seconds: float, alive: Callable[[], bool]) -> bool:
    """Whether a broker on this port came up in time; gives up when it is not alive any more."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and alive():
        if answers(HOST, port):
            return True
        time.sleep(0.1)
    return False


def answers(host: str, port: int, brokers: int = 1) -> bool:
    """Whether a broker takes a Metadata request (v1, no topics) and knows so many brokers, itself among them:
    listening alone is not ready."""
    client = b"ready?"
    request = struct.pack(">hhih", 3, 1, 7, len(client)) + client + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.settimeout(5)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                correlation, known = struct.unpack_from(">ii", stream.read(size))
    except (OSError, struct.error):
        return False
    return bool(correlation == 7 and known >= brokers)


def main() -> int:
    """Run in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="One Apache Kafka broker on this machine, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"0 takes a free one ({DEFAULT_PORT})")
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "kafka", help="survives restarts (.data/kafka)")
    options = parser.parse_args()
    ended = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: ended.set())
    broker = KafkaBroker(options.data, options.port)
    try:
        broker.start()
        print(
            f"Kafka {kafka_version()} is ready: BUS_URL=kafka://{broker.bootstrap} (log: {broker.log})",
            flush=True,
        )
        while broker.pid and not ended.wait(0.5):
            pass
        failed = not ended.is_set()
        if failed:
            print(f"the broker ended by itself; its reasons are in {broker.log}", file=sys.stderr)
    except BrokerError as error:
        print(error, file=sys.stderr)
        failed = True
    broker.stop()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
