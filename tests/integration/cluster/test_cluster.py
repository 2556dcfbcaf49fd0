"""The runner of `make cluster`: three real brokers, a database and services, and the death of any one of them."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.cluster import Cluster, ClusterError, Process
from deploy.cluster.__main__ import EXAMPLE
from deploy.kafka.broker import HOST
from services.cli import app as cli
from shared.bus.kafka import KafkaBus
from shared.bus.plan import Action
from shared.contracts.topics import FEEDBACK_RECEIVED, TOPICS
from shared.telemetry.logging import configure_logging
from tests.support.poll import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
_numbers = count(1)
RETENTION = "retention.ms"
DAY = 24 * 60 * 60 * 1000


@pytest.fixture(scope="module")
async def client(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {cluster.key}"}
    async with httpx.AsyncClient(headers=headers, timeout=20, trust_env=False) as client:
        yield client


async def _accepted(client: httpx.AsyncClient, process: Process) -> bool:
    body = {
        "id": f"answer-{next(_numbers)}",
        "kind": "survey_response",
        "channel": "email",
        "survey": {"id": "after-delivery", "type": "transactional"},
        "metric": "nps",
        "score": 9,
    }
    return (await client.post(f"{process.address}/v1/feedback", json=body)).status_code == 202


async def _counted(client: httpx.AsyncClient, process: Process) -> int:
    asked = {"metric": "nps", "window": "30d", "by": "all"}
    items = (await client.get(f"{process.address}/v1/scores", params=asked)).json()["items"]
    return int(items[0]["n"]) if items else 0


async def test_feedback_becomes_a_score_that_every_replica_shows(cluster: Cluster, client: httpx.AsyncClient) -> None:
    (ingest,) = cluster.of("ingest")
    assert await _accepted(client, ingest)
    for scoring in cluster.of("scoring"):
        await eventually(lambda scoring=scoring: _counted(client, scoring), timeout=30)


async def test_the_example_that_the_start_prints_is_accepted(cluster: Cluster, client: httpx.AsyncClient) -> None:
    (ingest,) = cluster.of("ingest")
    response = await client.post(f"{ingest.address}/v1/feedback", json=EXAMPLE)
    assert response.status_code == 202, response.text


async def test_every_topic_has_three_copies_and_is_only_led_by_one_that_is_in_step(cluster: Cluster) -> None:
    bus = KafkaBus(cluster.bus_url)
    await bus.start()
    try:
        steps = await bus.plan_topics(TOPICS, brokers=3)
    finally:
        await bus.stop()
    assert [step.action for step in steps] == [Action.KEEP] * len(TOPICS)
    for step in steps:
        assert (step.wanted.partitions, step.wanted.replicas) == (24, 3)
        assert step.wanted.settings["min.insync.replicas"] == "2"
        assert step.wanted.settings["unclean.leader.election.enable"] == "false"
    log = (cluster.folder / "logs" / "topics.log").read_text()
    assert "+ create     feedback.received.v1" in log
    assert "6 to create" in log


async def test_two_of_three_brokers_are_enough(cluster: Cluster, client: httpx.AsyncClient) -> None:
    (ingest,), scoring = cluster.of("ingest"), cluster.of("scoring")[0]
    assert await _accepted(client, ingest)
    before = await eventually(lambda: _counted(client, scoring), timeout=30)
    broker = cluster.processes["kafka-2"]
    broker.restarts = False
    try:
        await asyncio.to_thread(broker.kill)
        assert await _accepted(client, ingest)
        await eventually(lambda: _at_least(client, scoring, before + 1), timeout=45)
        assert broker.pid is None
    finally:
        broker.restarts = True
    await eventually(lambda: broker.starts == 2 and broker.ready(), timeout=60)


@pytest.mark.parametrize("victim", ["scoring-1", "postgres", "ingest-1"])
async def test_the_death_of_one_process_is_survived(cluster: Cluster, client: httpx.AsyncClient, victim: str) -> None:
    (ingest,), scoring = cluster.of("ingest"), cluster.of("scoring")[1]
    assert await _accepted(client, ingest)
    before = await eventually(lambda: _counted(client, scoring), timeout=30)
    process = cluster.processes[victim]
    starts = process.starts
    await asyncio.to_thread(process.kill)
    accepted = 0

    async def counted_after() -> bool:
        nonlocal accepted
        accepted += await _accepted(client, ingest)
        return await _counted(client, scoring) > before

    await eventually(counted_after, timeout=45, interval=0.2)
    await eventually(lambda: process.starts == starts + 1 and process.pid, timeout=30)
    await asyncio.to_thread(cluster.wait_ready, 60)
    # an answer that was refused may have been taken all the same; one that was accepted counts
    await eventually(lambda: _at_least(client, scoring, before + accepted), timeout=30)


async def _at_least(client: httpx.AsyncClient, process: Process, wanted: int) -> bool:
    return await _counted(client, process) >= wanted


async def _topics(cluster: Cluster, *words: str) -> Result:
    """`closeloop topics …`; in a thread, because a command brings its own event loop."""
    environment = {"BUS_URL": cluster.bus_url, "DATA_DIR": str(cluster.folder)}
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["topics", *words], env=environment)
    configure_logging("warning", "json")  # the command's went to an output that is gone
    return result


async def _set_retention(cluster: Cluster, days: int) -> None:
    """As somebody with kafka-configs.sh would."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bus_url.removeprefix("kafka://"))
    await admin.start()
    settings = {RETENTION: str(days * DAY), "segment.ms": str(DAY)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, FEEDBACK_RECEIVED.name, configs=settings)])
    await admin.close()


async def test_topics_are_planned_then_changed_and_nothing_is_shortened(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.wait_ready, 60)
    await _set_retention(cluster, 2)
    planned = await _topics(cluster, "plan", "--brokers", "3")
    assert planned.exit_code == 2, planned.stderr
    assert f"{RETENTION} {2 * DAY} → {14 * DAY}" in planned.stdout
    assert "1 to change, 5 unchanged" in planned.stdout

    unasked = await _topics(cluster, "apply")
    assert unasked.exit_code == 1
    assert "--yes" in unasked.stderr

    applied = await _topics(cluster, "apply", "--yes")
    assert applied.exit_code == 0, applied.stderr
    settings = await _settings(cluster)
    assert settings[RETENTION] == str(14 * DAY)
    assert settings["segment.ms"] == str(DAY), "what others have set on the topic stays"
    assert settings["min.insync.replicas"] == "2"

    await _set_retention(cluster, 30)
    refused = await _topics(cluster, "apply", "--yes")
    assert refused.exit_code == 1
    assert "would shrink" in refused.stderr
    assert (await _settings(cluster))[RETENTION] == str(30 * DAY)


async def _settings(cluster: Cluster) -> dict[str, Any]:
    from shared.bus.kafka.topics import shapes

    bus = KafkaBus(cluster.bus_url)
    await bus.start()
    try:
        return dict((await shapes(bus._admin, [FEEDBACK_RECEIVED.name]))[FEEDBACK_RECEIVED.name].settings)
    finally:
        await bus.stop()


def test_a_folder_has_one_cluster_and_keeps_its_number_of_brokers(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=f"in use by the cluster of process {os.getpid()}"):
        Cluster(cluster.folder, brokers=3).start()
    state = json.loads((cluster.folder / "cluster.json").read_text())
    assert state["brokers"] == 3
    assert (cluster.folder / "cluster.json").stat().st_mode & 0o077 == 0


def test_the_database_asks_for_a_password_on_loopback(cluster: Cluster) -> None:
    from shared.db.embedded_host import programs

    port = cluster.processes["postgres"].port
    target = f"postgresql://closeloop@{HOST}:{port}/closeloop"
    environment = {**os.environ, "PGPASSFILE": "/nonexistent"}
    done = subprocess.run(
        [str(programs() / "psql"), "-w", target, "-c", "select 1"], capture_output=True, text=True, env=environment,
        check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode
    assert "no password supplied" in done.stderr
    assert Path(f"/proc/{cluster.processes['postgres'].pid}").exists()
