"""The demo on a cluster: each request goes to the service that has its path, and past a replica that is away."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from services.node.demo.addresses import ByPath
from tests.support.poll import eventually

Server = tuple[ThreadingHTTPServer, list[str]]


def _serve(*paths: str) -> Server:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = httpx.Response(200, json={"paths": {path: {} for path in paths}})
            if self.path != "/openapi.json":
                seen.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(document.content)))
            self.end_headers()
            self.wfile.write(document.content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, seen


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """ingest, and two replicas of scoring."""
    made = [_serve("/v1/feedback", "/v1/sources/{key}"), _serve("/v1/scores"), _serve("/v1/scores")]
    yield made
    for server, _ in made:
        server.shutdown()
        server.server_close()


async def test_requests_find_their_service(servers: list[Server]) -> None:
    (_, ingest), (away, one), (_, other) = servers
    by_path = ByPath([f"http://127.0.0.1:{server.server_port}" for server, _ in servers])
    await by_path.learn()
    async with httpx.AsyncClient(transport=by_path, base_url="http://cluster", trust_env=False) as client:
        for path in ("/v1/feedback", "/v1/sources/abc", "/v1/scores?by=all", "/v1/scores"):
            assert (await client.get(path)).status_code == 200
        assert ingest == ["/v1/feedback", "/v1/sources/abc"]
        assert sorted(one + other) == ["/v1/scores", "/v1/scores?by=all"]
        assert one, "replicas take turns"
        assert other
        for path in ("/v1/sources/a/b", "/v1/scoresheet", "/"):
            assert (await client.get(path)).status_code == 404
        away.shutdown()
        away.server_close()
        before = len(other)

        async def served() -> bool:  # a connection that was kept may still be cut once
            return (await client.get("/v1/scores")).status_code == 200

        await eventually(served)
        assert await served()
        assert len(other) >= before + 2
