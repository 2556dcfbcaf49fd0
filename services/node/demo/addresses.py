"""Several services as one origin: the demo drives a cluster, where each service has addresses of its own."""

import re
from collections.abc import Sequence

import httpx

_TRIES = 3


class ByPath(httpx.AsyncBaseTransport):
    """Sends each request to the service whose OpenAPI document has its path, replicas by turns; one that cannot be
    connected to has not been sent anything, so the next one is tried."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self._transport = httpx.AsyncHTTPTransport()
        self._routes: dict[str, list[re.Pattern[str]]] = {}
        self._turn = 0

    async def learn(self) -> None:
        """Ask every address what it serves. Raises httpx.TransportError when one does not answer."""
        for address in self._addresses:
            request = httpx.Request("GET", f"{address}/openapi.json")
            response = await self._transport.handle_async_request(request)
            await response.aread()
            self._routes[address] = [_pattern(path) for path in response.json()["paths"]]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See the class; 404 for a path that nobody has."""
        path = request.url.path
        owners = [address for address in self._addresses if any(p.fullmatch(path) for p in self._routes[address])]
        self._turn += 1
        for attempt in range(_TRIES if owners else 0):
            owner = httpx.URL(owners[(self._turn + attempt) % len(owners)])
            request.url = request.url.copy_with(scheme=owner.scheme, host=owner.host, port=owner.port)
            request.headers["Host"] = owner.netloc.decode()
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                if attempt == _TRIES - 1:
                    raise
        return httpx.Response(404, text=f"no service has {path}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def _pattern(template: str) -> re.Pattern[str]:
    """/v1/sources/{key} matches one part for each name in braces."""
    return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part)
                              for part in re.split(r"(\{\w+\})", template)))  # fmt: skip
