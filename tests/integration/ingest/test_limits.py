"""Room at the door: too many, too quick, too slow; told before a body is read, and nobody pays for another."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.ingest.sources import CONNECTORS
from services.ingest.sources.proof import with_proof
from services.ingest.sources.samples import sample
from shared.http import protocol
from tests.integration.ingest.conftest import Ingest, running_ingest
from tests.integration.ingest.wire import served
from tests.support.poll import eventually

BODY = json.dumps({"channel": "store", "text": "Kasada bekledik."}).encode()


@asynccontextmanager
async def limited(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **limits: str) -> AsyncIterator[Ingest]:
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    async with running_ingest(url, folder) as ingest:
        yield ingest


async def head_only(port: int, path: str, *headers: str) -> bytes:
    """The answer to a request whose body never comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Length: 100", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def test_a_workspace_over_its_rate_is_told_when_to_come_back_before_its_body_is_read(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(database_url, tmp_path, monkeypatch, INGEST_REQUESTS_PER_SECOND="0.5") as ingest:
        slack, intercom = await ingest.add("slack", "slack"), await ingest.add("intercom", "intercom")
        statuses = [(await ingest.post(BODY)).status_code for _ in range(3)]
        assert statuses == [202, 429, 429]
        answer = await ingest.post(BODY)
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
        async with served(ingest) as port:
            for path, status in ((slack.path, b"429"), (intercom.path, b"503")):
                await ingest.client.post(path, content=b"{}")  # from here on the door knows it
                told = await head_only(port, path)
                assert told.split(b" ")[1] == status
                assert b"retry-after: " in told.lower()
            key = ingest.key("channel")["authorization"]
            assert (await head_only(port, "/v1/feedback", f"Authorization: {key}")).split(b" ")[1] == b"429"
        assert await ingest.count() == 1


async def test_a_full_house_answers_503_and_is_open_again_when_somebody_leaves(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(database_url, tmp_path, monkeypatch, INGEST_IN_FLIGHT="1") as ingest, served(ingest) as port:
        source = await ingest.add("slack", "slack")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {source.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode())
        await writer.drain()
        told = b""

        async def is_full() -> bool:
            nonlocal told
            told = await head_only(port, source.path)
            return told.startswith(b"HTTP/1.1 503")

        await eventually(is_full)
        assert b"retry-after: 1" in told.lower()
        writer.write(b"{}")
        assert (await reader.readline()).split(b" ")[1] == b"401"
        writer.close()
        signed = with_proof(CONNECTORS["slack"].proof, sample("slack"), source.secret)
        answer = await ingest.client.post(source.path, content=signed.body, headers=dict(signed.headers))
        assert answer.status_code == 200


async def test_a_body_that_drips_ends_its_connection(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.3)
    async with served(ingest) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/sources/unknown HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")

        loop = asyncio.get_running_loop()

        def drip() -> None:
            if not writer.is_closing():
                writer.write(b"x")
                loop.call_later(0.02, drip)

        drip()
        try:
            assert await asyncio.wait_for(reader.read(), 15) == b""
        except ConnectionError:
            pass
        finally:
            writer.close()
