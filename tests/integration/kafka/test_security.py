"""A broker that asks for a user over TLS and allows nothing by default: what `closeloop topics acls` says is enough."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.cluster.process import Process, quiet_port
from deploy.kafka.broker import HOST, Node, cluster_id, prepare, wait_until_answers
from services.node.access import Rule, rules
from shared.bus.kafka import KafkaBus
from shared.bus.plan import Action
from shared.bus.port import BusUnavailable, Message, TopicPartition
from shared.bus.security import Security, security_of
from shared.contracts.topics import FEEDBACK_RECEIVED, FOLLOWUP_CHANGED, SCORE_UPDATED, TOPICS
from shared.core.settings import Settings
from tests.support.bus import Listener
from tests.support.certificates import make_certificates
from tests.support.kafka import missing, why_no_broker
from tests.support.poll import eventually

pytestmark = pytest.mark.kafka
USERS = ("ingest", "scoring", "operator")
MECHANISM = "SCRAM-SHA-512"
# Kafka's codes
KINDS = {"topic": 2, "group": 3, "cluster": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11}
LITERAL, PREFIXED, ALLOW = 3, 4, 3


@dataclass(frozen=True)
class Secured:
    """`bootstrap` is the door for everybody, `inside` the one of who runs the broker."""

    bootstrap: str
    inside: str
    authority: Path

    def security(self, user: str, password: str = "", authority: Path | None = None) -> Security:
        return security_of(
            Settings(
                _env_file=None,  # type: ignore[call-arg]
                kafka_security_protocol="SASL_SSL",
                kafka_sasl_mechanism=MECHANISM,
                kafka_sasl_username=user,
                kafka_sasl_password=password or f"{user}-password",
                kafka_ca_file=authority or self.authority,
            )
        )

    @asynccontextmanager
    async def bus(self, user: str, **changes: str | Path) -> AsyncIterator[KafkaBus]:
        bus = KafkaBus(f"kafka://{self.bootstrap}", self.security(user, **changes))  # type: ignore[arg-type]
        await bus.start()
        try:
            yield bus
        finally:
            await bus.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if reason := why_no_broker():
        missing(reason)
    folder = tmp_path_factory.mktemp("secured")
    authority, keystore = make_certificates(folder)
    node, port = Node(1, quiet_port(), quiet_port()), quiet_port()
    properties = node.properties(folder, node.voter) | {
        "listeners": f"PLAINTEXT://{HOST}:{node.port},SASL_SSL://{HOST}:{port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port},SASL_SSL://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": MECHANISM,
        f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    users = [word for user in USERS for word in ("--add-scram", f"{MECHANISM}=[name={user},password={user}-password]")]
    command = prepare(folder, properties, cluster_id(), format_options=users)
    process = Process("secured", lambda: command, folder / "console.log", restarts=False)
    process.start()
    try:
        assert wait_until_answers(node.port, 60, lambda: process.pid is not None), process.last_words()
        yield Secured(f"{HOST}:{port}", f"{HOST}:{node.port}", authority)
    finally:
        process.terminate(5)


@pytest.fixture(scope="module")
async def allowed(broker: Secured) -> Secured:
    """The broker with our rules."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.inside)
    await admin.start()
    try:
        for rule in rules():
            if rule.who in USERS:
                await _allow(admin, rule)
    finally:
        await admin.close()
    async with broker.bus("operator") as bus:
        steps = await bus.plan_topics(TOPICS)
        assert {step.action for step in steps} == {Action.CREATE}
        await bus.apply_topics(steps)
        assert {step.action for step in await bus.plan_topics(TOPICS)} == {Action.KEEP}
        for topic in TOPICS:  # a broker of a busy machine takes its time to lead what it has
            await eventually(lambda name=topic.name: bus.offsets(name), timeout=180)  # type: ignore[misc]
    return broker


async def _allow(admin: AIOKafkaAdminClient, rule: Rule) -> None:
    pattern = PREFIXED if rule.is_prefix else LITERAL
    for operation in rule.operations:
        request = CreateAclsRequest(
            KINDS[rule.kind], rule.name, pattern, f"User:{rule.who}", "*", OPERATIONS[operation], ALLOW
        )
        response = await admin._send_request(request)
        assert [code for code, *_ in response.creation_responses] == [0], response


async def test_who_is_allowed_to_sends_and_reads_over_tls(allowed: Secured) -> None:
    message = Message(FEEDBACK_RECEIVED.name, b"mina", b"a score of 9")
    async with allowed.bus("ingest") as bus:
        await bus.create_topics(TOPICS)  # what every service does at its start
        await _send(bus, message)
    async with allowed.bus("scoring") as bus:
        await bus.create_topics(TOPICS)
        assert await _first(bus, "scoring", FEEDBACK_RECEIVED.name) == message.value
        updated = Message(SCORE_UPDATED.name, b"series", b"n=1")
        await _send(bus, updated)
        assert await _first(bus, f"feed-{SCORE_UPDATED.name}-0123456789abcdef", SCORE_UPDATED.name) == updated.value


async def test_what_is_not_allowed_is_refused_by_the_broker(allowed: Secured) -> None:
    async with allowed.bus("ingest") as bus:
        with pytest.raises(BusUnavailable, match="TopicAuthorizationFailed"):
            await _send(bus, Message(SCORE_UPDATED.name, b"series", b"not a topic of ingest"))
    inside = KafkaBus(f"kafka://{allowed.inside}")
    await inside.start()
    await _send(inside, Message(FOLLOWUP_CHANGED.name, b"mina", b"sent"))
    held = next(n for n, (_, end) in (await inside.offsets(FOLLOWUP_CHANGED.name)).items() if end)
    await inside.stop()
    async with allowed.bus("operator") as bus:
        (record,) = await bus.read(TopicPartition(FOLLOWUP_CHANGED.name, held), 0, 10)
        assert record.value == b"sent"
    async with allowed.bus("scoring") as bus:
        with pytest.raises(BusUnavailable, match="TopicAuthorizationFailed"):
            await bus.read(TopicPartition(FOLLOWUP_CHANGED.name, held), 0, 10)


async def _send(bus: KafkaBus, message: Message) -> None:
    producer = bus.producer()
    await producer.start()
    try:
        await producer.send([message])
    finally:
        await producer.stop()


async def _first(bus: KafkaBus, group: str, topic: str) -> bytes:
    consumer = bus.consumer(group, [topic], Listener())
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            while True:
                for records in (await consumer.fetch(10, 1)).values():
                    return records[0].value
    finally:
        await consumer.stop()


async def test_a_wrong_password_and_an_unknown_authority_are_told(broker: Secured, tmp_path: Path) -> None:
    with pytest.raises(BusUnavailable, match="KAFKA_SASL_"):
        async with broker.bus("scoring", password="wrong"):
            pass
    other, _ = make_certificates(tmp_path)
    with pytest.raises(BusUnavailable, match="KAFKA_CA_FILE"):
        async with broker.bus("scoring", authority=other):
            pass
