"""A cluster to be broken: proxies in front of its database and brokers, real receivers behind its notifier, a ledger
beside its tables, and what a promise needs to load it, heal it and judge it."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import httpx

from deploy.cluster import Cluster, Process
from tests.fault import checkers
from tests.fault.checkers import Findings
from tests.fault.evidence import GROUPS, Evidence
from tests.fault.history import History
from tests.fault.injectors import Injector
from tests.fault.load import Load, Terms
from tests.fault.proxy import KafkaProxies, Proxy, started
from tests.support.http_receiver import HttpReceiver, http_receiver
from tests.support.smtp_receiver import MailReceiver, mail_receiver

REPLICAS = {"ingest": 3, "scoring": 2, "routing": 2, "notifier": 2}
WORKERS = ("scoring", "routing", "notifier")
PLAYS = """
version: 1
plays:
  - id: thanks
    on: feedback_received
    when: band is promoter
    steps:
      - {id: mail, after: 0s, audience: customer, transport: email, template: promoter-thanks}
  - id: case
    on: assigned
    steps:
      - {id: hook, after: 0s, audience: agent, transport: webhook, template: agent-new-case}
"""
TEAMS = """
teams: [{id: support, departments: [support], default: true}]
members:
  - {id: deniz, name: Deniz, email: deniz@example.org, teams: [support], languages: [tr, en, fa], capacity: 10000}
"""
_READY_SECONDS = 120.0
_POLL_SECONDS = 0.25


class _Settings(Mapping[str, str]):
    """Read at every start of a process: the addresses are known only then."""

    def __init__(self, fixed: Mapping[str, str]) -> None:
        self.computed: dict[str, Callable[[], str]] = {}
        self._fixed = dict(fixed)

    def __getitem__(self, name: str) -> str:
        return self.computed[name]() if name in self.computed else self._fixed[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._fixed, *self.computed])

    def __len__(self) -> int:
        return len(self._fixed) + len(self.computed)


class World:
    """Made by `opened`."""

    def __init__(self, folder: Path, seed: int, rate: float, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.seed = seed
        self.rate = rate
        self.say = say
        self.dice = random.Random(seed)
        self.cluster: Cluster
        self.kafka: KafkaProxies
        self.kafka_apart: KafkaProxies  # the way of ingest-1 alone
        self.database: Proxy
        self.mails: MailReceiver
        self.hooks: HttpReceiver
        self.evidence: Evidence
        self.inject: Injector
        self.made = False
        self._loads = 0

    # load

    @asynccontextmanager
    async def load(self, label: str, **terms: float | int) -> AsyncIterator[Load]:
        """A load for the length of the block; at its end the last answers are waited for."""
        self._loads += 1
        chosen = {"seed": self.seed, "rate": self.rate, "workspace": self.cluster.workspace, **terms}
        history = History(self.folder / f"history-{self._loads}-{label}.jsonl")
        addresses = [process.address or "" for process in self.cluster.of("ingest")]
        load = Load(addresses, self.cluster.key, history, Terms(f"{label}{self._loads}", **chosen))  # type: ignore[arg-type]
        running = asyncio.create_task(load.run())
        try:
            yield load
        finally:
            load.stop()
            await running
            history.close()

    # processes

    async def armed(self, process: Process, fault: str) -> None:
        """Start a process anew with a freeze point; the start after that is without it."""
        process.extra["FAULT"] = fault
        try:
            await asyncio.to_thread(process.kill)
            await asyncio.to_thread(process.start)
        finally:
            process.extra.pop("FAULT", None)

    async def until_stopped(self, process: Process, seconds: float = 40) -> bool:
        """Whether a process froze itself in this time. One that did not is disarmed: it must not freeze later, when
        nobody looks."""
        if await self.within(seconds, lambda: _state(process.pid) in "Tt"):
            return True
        await self.disarm(process)
        return False

    async def until_killed(self, process: Process, starts: int, seconds: float) -> bool:
        """Whether a process killed itself in this time, since its start number `starts`; disarmed if not."""
        if await self.within(seconds, lambda: process.starts > starts or process.pid is None):
            return True
        await self.disarm(process)
        return False

    async def hold(self, seconds: float) -> None:
        """Leave things as they are for a while: a fault lasts."""
        await asyncio.sleep(seconds)

    async def disarm(self, process: Process) -> None:
        """Start it anew, without a freeze point."""
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start)

    async def within(self, seconds: float, check: Callable[[], bool]) -> bool:
        """Whether `check` came true in time."""
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """All services answer /readyz."""
        await asyncio.to_thread(self.cluster.wait_ready, seconds)

    def all_of_kafka(self, fault: Callable[[Proxy], None]) -> None:
        """The same fault on every way to every broker."""
        self.kafka.all(fault)
        self.kafka_apart.all(fault)

    async def heal(self) -> None:
        """No fault left: wires, processes, readiness."""
        self.all_of_kafka(Proxy.heal)
        self.database.heal()
        self.hooks.answers.clear()
        self.mails.drop_after_data = False
        for broken in self.folder.glob("broken-*"):
            broken.unlink()
        await self.inject.heal()

    # judgement

    async def settle(self, history: History, bound: float, patience: float = 60) -> float | None:
        """Seconds until every accepted event has its effect in every group, and scoring has counted all it stored; None
        when that is not so after the bound and some patience (which tells "late" from "lost")."""
        began = time.monotonic()
        left = {group: set(history.accepted) for group in self.evidence.groups}
        while True:
            for group, events in left.items():
                if events:
                    left[group] = await self.evidence.unseen(group, events)
            if not any(left.values()) and not ("scoring" in left and await self.evidence.uncounted()):
                return time.monotonic() - began
            if time.monotonic() - began > bound + patience:
                self.say(f"still unseen: { {group: len(events) for group, events in left.items()} }")
                return None
            await asyncio.sleep(_POLL_SECONDS)

    async def judge(self, history: History, bound: float, patience: float = 60) -> Findings:
        """Settle, then compare what was promised with what is there."""
        result = Findings()
        result.recovery_bound = bound
        result.recovery_seconds = await self.settle(history, bound, patience)
        result.events += len(history.accepted)
        accepted, failed, places = set(history.accepted), history.failed(), history.places()
        asked = accepted | failed | history.unsure()
        feedback = {attempt.event: attempt.feedback for attempt in history.attempts}
        for group in self.evidence.groups:
            effects = await self.evidence.effects(group, asked)
            known = await self.evidence.known(group, set(feedback.values()))
            result.lost += result.found(f"{group} lost", checkers.lost(accepted, effects))
            result.lost += result.found(
                f"{group}'s own table lost", {event for event in accepted if feedback[event] not in known}
            )
            result.phantom += result.found(f"{group} phantom", checkers.phantom(effects, failed))
            result.phantom += result.found(
                f"{group}'s own table phantom", {event for event in failed if feedback[event] in known}
            )
            twice = checkers.duplicates(effects)
            result.duplicates += sum(twice.values())
            result.found(f"{group} twice", twice)
            result.inversions += result.found(f"{group} inversions", checkers.inversions(effects, places))
        await self._judge_log(accepted, failed, result)
        back = checkers.backwards(await self.evidence.moves())
        result.backwards += result.found("positions moved back", back)
        if wrong := await self.evidence.miscounted():
            result.notes.append(wrong)
        return result

    async def _judge_log(self, accepted: set[UUID], failed: set[UUID], result: Findings) -> None:
        log = await self.evidence.log()
        there = {event for records in log.values() for _, event in records if event is not None}
        result.lost += result.found("not in the log", accepted - there)
        result.phantom += result.found("refused, and in the log", failed & there)
        for partition, records in log.items():
            offsets = [offset for offset, _ in records]
            if offsets:
                gaps = checkers.skips(offsets, offsets[0], offsets[-1] + 1)
                result.skips += result.found(f"gap in partition {partition}", gaps)

    async def judge_followups(self, history: History, result: Findings, seconds: float = 60) -> None:
        """No message twice at a real receiver but what is shown as unknown; none counted as sent that never came."""
        feedback = {attempt.feedback for attempt in history.accepted.values()}
        rows = await self.evidence.followups(feedback)
        deadline = time.monotonic() + seconds
        while any(row["state"] in ("planned", "sending") for row in rows) and time.monotonic() < deadline:
            await asyncio.sleep(1)
            rows = await self.evidence.followups(feedback)
        for state in ("planned", "sending", "failed"):
            if count := sum(row["state"] == state for row in rows):
                result.notes.append(f"{count} follow-ups are {state} in the end")
        mails = [str(mail.mail["message-id"]) for mail in self.mails.accepted]
        hooks = [received.headers.get("webhook-id", "?") for received in self.hooks.received]
        unknown = {f"msg_{row['id']}": row["unknown"] for row in rows}
        mine = {str(row["id"]) for row in rows}
        result.duplicates += sum(checkers.duplicates(mails).values())
        result.found("mails twice", checkers.duplicates(mails))
        extra = checkers.unexplained([hook for hook in hooks if hook.removeprefix("msg_") in mine], unknown)
        result.duplicates += sum(extra.values())
        result.found("webhooks twice", extra)
        result.unknown += sum(row["unknown"] for row in rows)
        for row in rows:
            came = any(str(row["id"]) in message for message in (*mails, *hooks))
            if row["state"] == "sent" and not came:
                result.lost += result.found("counted as sent, and never came", [row["id"]])


def _state(pid: int | None) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return "?"


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    seed: int,
    rate: float,
    say: Callable[[str], None],
    unfenced: str = "",
    brokers: int = 3,
    replicas: Mapping[str, int] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """Start everything; at the end stop what was started. `unfenced`: services (or `all`) without their fence."""
    counts = REPLICAS | dict(replicas or {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plays.yaml").write_text(PLAYS)
    world = World(folder, seed, rate, say)
    async with AsyncExitStack() as stack:
        world.mails = await stack.enter_async_context(mail_receiver())
        world.hooks = await stack.enter_async_context(http_receiver())
        world.kafka = KafkaProxies(brokers, lambda: _ports(world.cluster.bus_url))
        world.kafka_apart = KafkaProxies(brokers, lambda: _ports(world.cluster.bus_url))
        world.database = Proxy(lambda: urlsplit(world.cluster.database_url).port or 0)
        await stack.enter_async_context(started(world.database, *world.kafka.each, *world.kafka_apart.each))
        chosen = _Settings(_environment(world, unfenced) | dict(settings or {}))
        chosen.computed = {
            "BUS_URL": lambda: world.kafka.url,
            # asked for once before there is a cluster, when only the names matter
            "DATABASE_URL": lambda: _through(world.cluster.database_url, world.database.port) if world.made else "",
        }
        world.cluster = Cluster(
            folder / "cluster",
            brokers=brokers,
            replicas=counts,
            settings=chosen,
            commands={name: [sys.executable, "-m", "tests.fault.service", name] for name in WORKERS},
            say=say,
        )
        world.made = True
        world.cluster.of("ingest")[0].extra["BUS_URL"] = world.kafka_apart.url
        stack.push_async_callback(asyncio.to_thread, world.cluster.stop)
        await asyncio.to_thread(world.cluster.start)
        groups = [group for group in GROUPS if counts[group]]
        world.evidence = Evidence(world.cluster.database_url, world.cluster.bus_url, groups)
        world.inject = Injector(world.cluster, world.dice, say)
        if counts["routing"]:
            await _put_teams(world)
        try:
            yield world
        finally:
            await world.heal()


def _environment(world: World, unfenced: str) -> dict[str, str]:
    return {
        "FAULT_FOLDER": str(world.folder),
        "FAULT_UNFENCED": unfenced,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(world.mails.port),
        "PLAYS_FILE": str(world.folder / "plays.yaml"),
        "AGENT_WEBHOOK_URL": world.hooks.url(),
        "OUTBOUND_ALLOW_PRIVATE": "true",
        "CONTACT_LIMIT": "1000000",
        # what a frozen notifier has in flight must not leave the others without room for the length of its lease
        "DELIVERY_PER_ENDPOINT": "50",
        "DELIVERY_RETRY_SECONDS": '["0","1","2","4","8"]',
        "LOG_FORMAT": "json",
    }


async def _put_teams(world: World) -> None:
    address = world.cluster.of("routing")[0].address
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {world.cluster.key}"}) as client:
        put = await client.put(f"{address}/v1/teams", content=TEAMS, headers={"content-type": "application/yaml"})
        assert put.is_success, put.text


def _ports(bus_url: str) -> list[int]:
    return [int(server.rpartition(":")[2]) for server in bus_url.removeprefix("kafka://").split(",")]


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    account = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{port}"))
