"""The same node on Apache Kafka: one code path, another log."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.load.node import NodeProcess
from tests.support.poll import eventually
from tests.support.smtp import smtp_server


@pytest.mark.kafka
async def test_feedback_travels_the_whole_loop_over_kafka(kafka_bootstrap: str) -> None:
    with tempfile.TemporaryDirectory(prefix="closeloop-node-") as folder:
        async with smtp_server() as mails, httpx.AsyncClient(timeout=10, trust_env=False) as client:
            node = NodeProcess(
                Path(folder) / "data",
                BUS_URL=f"kafka://{kafka_bootstrap}",
                SMTP_HOST="127.0.0.1",
                SMTP_PORT=str(mails.port),
                PLAY_DELAY_FACTOR="0.0001",
            )
            await asyncio.to_thread(node.start)
            try:
                await _loop(client, node)
                await eventually(lambda: mails.messages, timeout=30)
            finally:
                assert await asyncio.to_thread(node.stop) == 0, node.output()[-3000:]


async def _loop(client: httpx.AsyncClient, node: NodeProcess) -> None:
    base = f"http://127.0.0.1:{node.port}"
    headers = {"Authorization": f"Bearer {node.key}"}
    body = {
        "id": "kafka-1",
        "kind": "survey_response",
        "channel": "email",
        "touchpoint": "delivery",
        "survey": {"id": "s", "type": "transactional"},
        "metric": "nps",
        "score": 2,
        "text": "The parcel came broken and nobody answers my calls.",
        "language": "en",
        "customer": {"email": "nora@example.org", "name": "Nora"},
    }

    async def accepted() -> bool:
        return (await client.post(f"{base}/v1/feedback", json=body, headers=headers)).status_code == 202

    async def items(path: str) -> Any:
        return (await client.get(base + path, headers=headers)).json()["items"]

    await eventually(accepted, timeout=30)
    scores = await eventually(lambda: items("/v1/scores?metric=nps&window=7d&by=all"), timeout=60)
    assert (scores[0]["n"], scores[0]["value"]) == (1, -100.0)
    cases = await eventually(lambda: items("/v1/assignments"), timeout=60)
    assert (cases[0]["band"], cases[0]["language"]) == ("detractor", "en")
