"""`closeloop up` as a process: the demo within a minute, a clean end, the data kept, one line for each mistake."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.load.node import NodeProcess
from tests.support.poll import eventually

WITHIN_SECONDS = 60
STOP_SECONDS = 25


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the database's own user can reach (pytest's are closed to others)."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="closeloop-node-") as path:
        yield Path(path)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        yield client


async def get(client: httpx.AsyncClient, node: NodeProcess, path: str) -> Any:
    response = await client.get(f"http://127.0.0.1:{node.port}{path}", headers={"Authorization": f"Bearer {node.key}"})
    assert response.is_success, response.text
    return response.json()


async def test_the_demo_shows_the_whole_loop_within_a_minute_and_keeps_its_data(
    folder: Path, client: httpx.AsyncClient
) -> None:
    # The option wins over DATA_DIR, for the keys of the demo's sources too.
    option = ("--data-dir", str(folder / "data"))
    node = NodeProcess(folder / "elsewhere", "--demo", *option)
    began = time.monotonic()
    await asyncio.to_thread(node.start)

    async def whole_loop() -> bool:
        scores = (await get(client, node, "/v1/scores?window=90d&by=all"))["items"]
        cases = (await get(client, node, "/v1/assignments?limit=1"))["items"]
        sent = (await get(client, node, "/v1/followups?state=sent&limit=1"))["items"]
        mails = (await get(client, node, "/v1/demo/mails"))["received"]
        return bool(scores and scores[0]["n"] > 1000 and cases and sent and mails)

    try:
        await eventually(whole_loop, timeout=WITHIN_SECONDS - (time.monotonic() - began), interval=0.25)
        before = (await get(client, node, "/v1/scores?metric=nps&window=90d&by=all"))["items"][0]["n"]
    finally:
        stopping = time.monotonic()
        code = await asyncio.to_thread(node.stop, STOP_SECONDS)
    assert code == 0, node.output()[-2000:]
    assert time.monotonic() - stopping <= STOP_SECONDS
    await asyncio.to_thread(node.start)
    try:
        assert (await get(client, node, "/v1/scores?metric=nps&window=90d&by=all"))["items"][0]["n"] >= before
    finally:
        assert await asyncio.to_thread(node.stop) == 0
    assert '"level": "error"' not in node.output()
    assert '"level": "critical"' not in node.output()
    assert "demo_request_refused" not in node.output()
    assert not (folder / "elsewhere").exists()


async def test_a_taken_port_moves_to_the_next_and_says_so(folder: Path, client: httpx.AsyncClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = NodeProcess(folder / "data")
        node.port = port
        await asyncio.to_thread(node.start)
        try:
            assert node.port > port
            assert f"port {port} is taken; using {node.port}" in node.output()
            assert (await get(client, node, "/readyz"))["status"] == "ready"
        finally:
            assert await asyncio.to_thread(node.stop) == 0


async def test_commands_work_beside_a_running_node(folder: Path, client: httpx.AsyncClient) -> None:
    node = NodeProcess(folder / "data")
    await asyncio.to_thread(node.start)
    try:
        key = (await command(folder, "keys", "create", "shop", "--role", "channel")).strip()
        headers = {"Authorization": f"Bearer {key}"}
        base = f"http://127.0.0.1:{node.port}"
        body = {"id": "1", "kind": "message", "channel": "chat", "text": "Where is my parcel?"}
        assert (await client.post(f"{base}/v1/feedback", json=body, headers=headers)).status_code == 202
        assert (await client.get(f"{base}/v1/scores", headers=headers)).status_code == 403
        assert "shop" in await command(folder, "keys", "list")
        added = await command(folder, "sources", "add", "discourse", "community")
        assert "/v1/sources/" in added
        assert "community" in await command(folder, "sources", "list")
        assert "no dead letters" in await command(folder, "dead-letters", "list")
        identifier = key.split("_")[1]
        assert "revoked" in await command(folder, "keys", "revoke", identifier)
        status = 202

        async def refused() -> bool:
            nonlocal status
            status = (await client.post(f"{base}/v1/feedback", json=body, headers=headers)).status_code
            return status == 401

        await eventually(refused, timeout=15)
    finally:
        assert await asyncio.to_thread(node.stop) == 0
    assert "community" in await command(folder, "sources", "list")  # and without a node


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["up"], {"LOG_FORMAT": "pretty"}, "LOG_FORMAT"),
        (["up"], {"BUS_URL": "rabbit://x"}, "BUS_URL"),
        (["tail", "--topic", "nonsense"], {}, "no topic 'nonsense'"),
        (["keys", "revoke", "nobody"], {}, "no live key with id nobody"),
        (["sources", "add", "fax", "office"], {}, "no such connector"),
        (["dead-letters", "replay"], {}, "name a dead letter or an --origin"),
    ],
)
async def test_a_mistake_is_one_line(
    folder: Path, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    result = await asyncio.to_thread(closeloop, folder, arguments, environment)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


async def test_a_data_folder_that_cannot_be_made_is_one_line(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    result = await asyncio.to_thread(closeloop, folder / "file", ["up", "--port", "0"], {})
    assert result.returncode == 1
    assert "DATA_DIR" in result.stderr
    assert "Traceback" not in result.stderr


def closeloop(folder: Path, arguments: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command on the data folder; its output."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "DATA_DIR": str(folder / "data"), **environment},
    )


async def command(folder: Path, *arguments: str) -> str:
    """What a command that must succeed printed."""
    result = await asyncio.to_thread(closeloop, folder, list(arguments), {})
    assert result.returncode == 0, result.stderr
    return result.stdout
