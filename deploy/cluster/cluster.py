"""docker-compose.yml as processes on loopback: real Kafka brokers and PostgreSQL, one process per service replica."""

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from deploy.cluster.compose import Service, in_order, services
from deploy.cluster.first_key import live_key
from deploy.cluster.local import answer_of, answers_ok, broker_settings, clean_environment, local_command, one_line
from deploy.cluster.process import HOST, ClusterError, Process, quiet_port
from deploy.cluster.state import State, recall, remember, take
from deploy.kafka.broker import SETTINGS, BrokerError, Node, answers, fetch_jars, find_java, prepare
from shared.db.embedded import EmbeddedPostgres, EmbeddedPostgresError

START_SECONDS = 120.0
JOB_SECONDS = 120.0
_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.1
_BROKER_STOP_SECONDS = 5.0  # the last ones have no quorum any more to say goodbye to
_SERVICE_STOP_SECONDS = 30.0


class Cluster:
    """One cluster in one folder, which keeps all its data. Blocking; from asyncio call it through `asyncio.to_thread`.

    `settings`: extra environment of our services, read at every start. `commands`: service → another command line.
    `ports`: process → port, where a free one will not do. `advertised` (to be filled before `start`): broker → the port
    that clients are sent to, for who puts a proxy in between. `restarts`: what ends by itself is started again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int = 3,
        replicas: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
        ports: Mapping[str, int] | None = None,
        restarts: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder.expanduser().absolute()
        self.settings = settings if settings is not None else {}
        self.advertised: dict[str, int] = {}
        self.workspace = self.settings.get("WORKSPACE", "main")
        self.key = ""
        self.processes: dict[str, Process] = {}
        self._replicas = dict(replicas or {})
        self._commands = dict(commands or {})
        self._ports = dict(ports or {})
        self._restarts = restarts
        self._say = say
        self._state = State(brokers)
        self._lock: IO[str] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        # any word will do for what is not there before `start`
        self._services = services({"SECRETS_KEY": "-", "SMTP_HOST": "-", "PUBLIC_URL": "-", **self.settings})
        self._check(brokers)
        self._nodes = [
            Node(number, self.port(f"kafka-{number}"), self.port(f"kafka-{number}-controller"))
            for number in range(1, brokers + 1)
        ]
        self._postgres = EmbeddedPostgres(self.folder / "postgres", port=self.port("postgres"))
        self._make_processes()

    # what it is

    @property
    def database_url(self) -> str:
        """For our services and for who looks into the database."""
        url = self._compose_database_url()
        return url.replace(f"@{urlsplit(url).netloc.rpartition('@')[2]}/", f"@{HOST}:{self.port('postgres')}/")

    @property
    def bus_url(self) -> str:
        """All brokers."""
        ports = (self.advertised.get(f"kafka-{node.node_id}", node.port) for node in self._nodes)
        return "kafka://" + ",".join(f"{HOST}:{port}" for port in ports)

    @property
    def secrets_key(self) -> str:
        """SECRETS_KEY of this folder."""
        return self.settings.get("SECRETS_KEY") or self._state.secrets_key

    def of(self, service: str) -> list[Process]:
        """The replicas of a service (or of kafka)."""
        return [process for name, process in self.processes.items() if name.rpartition("-")[0] == service]

    # start and stop

    def start(self) -> None:
        """Everything in dependency order, each waited for. Raises ClusterError; what was started is stopped then."""
        self._stopping.clear()
        try:
            self._prepare()
            for group in in_order(self._services):
                self._start_group(group)
            self._say("waiting until every service is ready …")
            self.wait_ready(START_SECONDS)
        except BaseException:
            self._say("the start is given up; stopping what was started …")
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="cluster-watcher", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Everything in reverse order, by pid, only what this started."""
        self._stopping.set()
        if self._watcher:
            self._watcher.join()
            self._watcher = None
        kinds = {name: self._kind(name) for name in self.processes}
        self._each(
            [self.processes[name] for name, kind in kinds.items() if kind == "ours"],
            lambda process: process.terminate(_SERVICE_STOP_SECONDS),
        )
        self._each([self.processes[name] for name, kind in kinds.items() if kind == "sink"], Process.terminate)
        self._each(
            [self.processes[name] for name, kind in kinds.items() if kind in {"kafka", "postgres"}],
            lambda process: process.terminate(_BROKER_STOP_SECONDS),
        )
        self._postgres.stop()
        if self._lock:
            self._lock.close()
            self._lock = None

    def wait_ready(self, timeout_seconds: float = 60) -> None:
        """Until every service answers /readyz with 200. Raises ClusterError with what the last one says."""
        deadline = time.monotonic() + timeout_seconds
        for process in self.processes.values():
            while process.address and not answers_ok(f"{process.address}/readyz"):
                if time.monotonic() > deadline:
                    said = answer_of(f"{process.address}/readyz")
                    raise ClusterError(
                        f"{process.name} is not ready after {timeout_seconds:g} s: {said}; its log is {process.log}"
                    )
                if self._stopping.wait(_POLL_SECONDS):
                    raise ClusterError("the cluster was stopped before it was ready")

    def run_beside(self, name: str, command: Sequence[str]) -> Process:
        """One more process with the settings of ours, watched as the others and stopped with them."""
        environment = self._environment(self._services["ingest"]) | dict(self.settings)
        log = self.folder / "logs" / f"{name}.log"
        process = Process(name, lambda: local_command(command), log, environment=environment, restarts=self._restarts)
        self.processes[name] = process
        process.start()
        return process

    # the plan

    def _check(self, brokers: int) -> None:
        ours = [service.name for service in self._services.values() if service.is_replicated]
        if unknown := sorted((set(self._replicas) | set(self._commands)) - set(ours)):
            raise ClusterError(f"there is no service {unknown[0]!r}; there are {', '.join(ours)}")
        if brokers < 1 or any(count < 0 for count in self._replicas.values()):
            raise ClusterError("BROKERS must be at least 1, and no service can have fewer than 0 replicas")

    def port(self, name: str) -> int:
        """The port of a process, chosen once; `smtp` and `sink` are where mails and chat messages of a demo go."""
        if name not in self._ports:
            taken = set(self._ports.values())
            self._ports[name] = next(port for port in iter(quiet_port, 0) if port not in taken)
        return self._ports[name]

    def _make_processes(self) -> None:
        for service in self._services.values():
            if service.kind == "postgres":
                self._add("postgres", self._postgres_command, port=self.port("postgres"), ready=self._postgres_ready,
                          user=self._postgres_user, stop_signal=signal.SIGINT)  # fmt: skip
        for node in self._nodes:
            self._add(f"kafka-{node.node_id}", self._kafka_command(node), port=node.port, ready=self._kafka_ready(node))
        if "SMTP_HOST" not in self.settings:
            self._add("sink", lambda: [sys.executable, "-m", "deploy.cluster.sink", str(self.port("smtp")),
                      str(self.port("sink")), str(self.folder / "mails")], port=self.port("smtp"))  # fmt: skip
            self.processes["sink"].environment = clean_environment()
        for service in self._services.values():
            if service.is_replicated:
                for number in range(1, self._replicas.get(service.name, 1) + 1):
                    name = f"{service.name}-{number}"
                    self._add(name, self._service_command(service, name), port=self.port(name), serves_http=True,
                              ready=self._service_ready(service, self.port(name)))  # fmt: skip

    def _add(self, name: str, command: Callable[[], Sequence[str]], **options: object) -> None:
        log = self.folder / "logs" / f"{name}.log"
        self.processes[name] = Process(name, command, log, restarts=self._restarts, **options)  # type: ignore[arg-type]

    def _kind(self, name: str) -> str:
        if name in {"postgres", "sink"}:
            return name
        return "kafka" if name.startswith("kafka-") else "ours"

    # PostgreSQL

    def _compose_database_url(self) -> str:
        return next(s.environment["DATABASE_URL"] for s in self._services.values() if "DATABASE_URL" in s.environment)

    def _postgres_command(self) -> Sequence[str]:
        # The socket lies in a folder that only we enter; loopback is open to every user of this machine.
        rules = self.folder / "postgres" / "pg_hba.conf"
        rules.parent.mkdir(parents=True, exist_ok=True)
        rules.write_text(f"local all all trust\nhost all all {HOST}/32 scram-sha-256\n")
        rules.chmod(0o644)
        return self._postgres.foreground(hba_file=str(rules))

    def _postgres_user(self) -> str:
        owner = self._postgres.owner
        return f"{owner[0]}:{owner[1]}" if owner else ""

    def _postgres_ready(self) -> bool:
        return self._postgres.attach()

    def _make_database(self) -> None:
        """The role and the database that the image makes of POSTGRES_*."""
        parts = urlsplit(self.database_url)
        role, database = parts.username or "", parts.path.lstrip("/")
        if not (re.fullmatch(r"[a-z_]+", role) and re.fullmatch(r"[a-z_]+", database)):
            raise ClusterError(
                f"DATABASE_URL of docker-compose.yml has an unusual role or database: {role}, {database}"
            )
        if role not in self._postgres.execute("select rolname from pg_roles").split():
            self._postgres.execute(f"create role {role} superuser login")
        password = (parts.password or "").replace("'", "''")
        self._postgres.execute(f"alter role {role} password '{password}'")
        self._postgres.url(database)  # makes it when it is missing

    # Kafka

    def _kafka_command(self, node: Node) -> Callable[[], Sequence[str]]:
        def command() -> Sequence[str]:
            name = f"kafka-{node.node_id}"
            data = self.folder / name
            compose = next(s.environment for s in self._services.values() if s.kind == "kafka")
            place = Node(node.node_id, node.port, node.controller_port, self.advertised.get(name))
            settings = SETTINGS | broker_settings(compose, len(self._nodes))
            properties = place.properties(data, ",".join(other.voter for other in self._nodes), settings)
            heap = compose.get("KAFKA_HEAP_OPTS", "-Xmx512m").rpartition("-Xmx")[2]
            return prepare(data, properties, self._state.kafka_cluster, heap)

        return command

    def _kafka_ready(self, node: Node) -> Callable[[], bool]:
        return lambda: answers(HOST, node.port, brokers=len(self._nodes))

    # services

    def _service_command(self, service: Service, name: str) -> Callable[[], Sequence[str]]:
        def command() -> Sequence[str]:
            process, known = self.processes[name], self._services[service.name]  # filled in by now
            process.environment = self._service_environment(known, process.port or 0) | process.extra
            return local_command(self._commands.get(known.name, known.command))

        return command

    def _service_ready(self, service: Service, port: int) -> Callable[[], bool]:
        return lambda: answers_ok(f"http://{HOST}:{port}{service.health_path or '/healthz'}")

    def _service_environment(self, service: Service, port: int) -> dict[str, str]:
        return self._environment(service) | {"HTTP_HOST": HOST, "HTTP_PORT": str(port)} | dict(self.settings)

    def _environment(self, service: Service) -> dict[str, str]:
        """What the compose file says, with the addresses of this machine."""
        own = {"DATABASE_URL": self.database_url, "BUS_URL": self.bus_url, "DATA_DIR": str(self.folder)}
        return {
            **clean_environment(),
            **service.environment,
            **own,
        }

    def _run_job(self, service: Service) -> None:
        command = list(local_command(service.command))
        if "--brokers" in command:
            command[command.index("--brokers") + 1] = str(len(self._nodes))
        self._say(f"{' '.join(service.command[:1] + service.command[1:3])} …")
        log = self.folder / "logs" / f"{service.name}.log"
        job = Process(service.name, lambda: command, log, environment=self._environment(service), restarts=False)
        job.start()
        code = job.wait(JOB_SECONDS)
        if code is None:
            job.terminate(5)
            raise ClusterError(f"`{' '.join(service.command)}` did not end within {JOB_SECONDS:g} s; its log is {log}")
        if code:
            raise ClusterError(f"`{' '.join(service.command)}` failed: {job.last_words()}")

    # one step after the other

    def _prepare(self) -> None:
        if self._lock is None:
            self._lock = take(self.folder)
        self._state = recall(self.folder, len(self._nodes))
        with one_line():
            find_java()
            self._say("looking for Kafka's jars (the first time Maven fetches them) …")
            fetch_jars()
        given = {
            "SECRETS_KEY": self._state.secrets_key,
            "POSTGRES_PASSWORD": self._state.postgres_password,
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.port("smtp")),
            "PUBLIC_URL": f"http://{HOST}:{self.port('notifier-1')}",
        }
        self._services = services({**given, **self.settings})

    def _start_group(self, group: Sequence[Service]) -> None:
        long_lived = [process for service in group for process in self._processes_of(service)]
        if any(service.is_replicated for service in group):
            self._make_key()
            long_lived += [self.processes["sink"]] if "sink" in self.processes else []
        if long_lived:
            self._say(f"starting {', '.join(process.name for process in long_lived)} …")
        with one_line():
            self._each(long_lived, self._start_and_wait)
            if any(service.kind == "postgres" for service in group):
                self._make_database()
        self._each([service for service in group if service.is_job], self._run_job)

    def _processes_of(self, service: Service) -> list[Process]:
        if service.kind == "kafka":  # all of them with the first: compose's number need not be ours
            wanted = [] if self.processes["kafka-1"].pid else self.of("kafka")
            first = next(s.name for s in self._services.values() if s.kind == "kafka")
            return wanted if service.name == first else []
        if service.kind == "postgres":
            return [self.processes["postgres"]]
        return self.of(service.name) if service.is_replicated else []

    def _start_and_wait(self, process: Process) -> None:
        process.start()
        deadline = time.monotonic() + START_SECONDS
        while not process.ready() and not self._stopping.is_set():
            if process.pid is None:
                raise ClusterError(f"{process.name} ended at start: {process.last_words()} (log: {process.log})")
            if time.monotonic() > deadline:
                raise ClusterError(f"{process.name} is not healthy after {START_SECONDS:g} s; its log is {process.log}")
            self._stopping.wait(_POLL_SECONDS)

    def _make_key(self) -> None:
        known = self._state.keys.get(self.workspace)
        self.key = live_key(self.database_url, self.workspace, known)
        if self.key != known:
            self._state.keys[self.workspace] = self.key
            remember(self.folder, self._state)

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            for process in list(self.processes.values()):
                try:
                    said = process.tend()
                except (BrokerError, EmbeddedPostgresError, ClusterError, OSError) as error:
                    said = f"{process.name} could not be started again: {error}"
                if said:
                    self._say(said)

    def _each(self, items: Iterable[object], work: Callable[..., object]) -> None:
        """At the same time; the first error wins when all have ended. Ctrl-C ends their waiting."""
        items = list(items)
        if not items:
            return
        with ThreadPoolExecutor(len(items)) as pool:
            try:
                list(pool.map(work, items))
            except BaseException:
                self._stopping.set()
                raise
