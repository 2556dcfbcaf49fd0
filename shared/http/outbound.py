"""The only way out to addresses that users name: an HTTP client behind the address wall (security.md 3)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache

import httpx

from shared.core.clock import utc_now
from shared.core.errors import CloseloopError
from shared.http.addresses import UNREACHABLE, AddressRefused, Target, parse_target, permitted

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
ANSWER_LIMIT_BYTES = 20 * 1024
_CLOSE_SECONDS = 1.0
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class NotSent(CloseloopError):
    """The other side certainly did not get the request: no connection came about."""

    status = 502
    title = "Not reachable"

    def __init__(self) -> None:
        super().__init__(UNREACHABLE)


class NoAnswer(CloseloopError):
    """The request went out, at least in part, and no answer came: it may have arrived."""

    status = 504
    title = "No answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `whole` is False where the body is cut: over the limit, or it dripped or broke off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    def retry_after_seconds(self) -> float | None:
        """Retry-After in seconds, from either of its forms; None where it is absent or nonsense."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        try:
            return max(0.0, (parsedate_to_datetime(value) - utc_now()).total_seconds())
        except (ValueError, TypeError):
            return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name, by the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(entry[4][0]) for entry in found]


@cache
def _trusting_the_system() -> ssl.SSLContext:
    """Reading the system's authorities takes some 30 ms, so all clients share the context: they use it alike."""
    return ssl.create_default_context()


class OutboundClient:
    """Calls URLs that people configured. Resolves once, refuses if any answer is not public, connects to exactly
    that address with the name in SNI and Host. No redirects, proxies, cookies or compressed answers."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._resolver = resolver
        # No connection is kept: one made for a name must never serve another name at the same address.
        self._client = httpx.AsyncClient(
            verify=tls or _trusting_the_system(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(total_seconds, connect=connect_seconds, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    def check(self, url: str) -> Target:
        """The URL taken apart, for registration. Raises AddressRefused. Sending checks again, with the addresses."""
        return parse_target(url, allow_private=self._allow_private)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limit_bytes: int = ANSWER_LIMIT_BYTES
    ) -> Answer:
        """Send one POST. Raises AddressRefused, NotSent or NoAnswer; any status is an Answer, its body cut at the
        limit."""
        return await self._call("POST", url, body, headers, limit_bytes)

    async def get(self, url: str, headers: Mapping[str, str], *, limit_bytes: int = ANSWER_LIMIT_BYTES) -> Answer:
        """Send one GET. Raises and answers as `post`."""
        return await self._call("GET", url, b"", headers, limit_bytes)

    async def _call(self, method: str, url: str, body: bytes, headers: Mapping[str, str], limit_bytes: int) -> Answer:
        target = self.check(url)
        address = await self._address(target)
        request = self._request(method, target, address, body, headers)
        deadline = asyncio.get_running_loop().time() + self._total_seconds
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
            raise NotSent from None
        except (TimeoutError, httpx.TimeoutException):
            raise NoAnswer(f"no answer within {self._total_seconds:g} s after the message was sent") from None
        except httpx.HTTPError:
            raise NoAnswer("the connection broke after the message was sent") from None
        return await _answer(response, deadline, limit_bytes)

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def _address(self, target: Target) -> str:
        """The address to connect to. All answers must be permitted: one bad one means that somebody is playing."""
        if permitted(target.host, allow_private=self._allow_private):
            return target.host
        try:
            async with asyncio.timeout(self._connect_seconds):
                found = await self._resolver(target.host, target.port)
        except (OSError, TimeoutError, UnicodeError):
            raise NotSent from None
        if not found:
            raise NotSent
        if not all(permitted(address, allow_private=self._allow_private) for address in found):
            raise AddressRefused
        # IPv4 first: a host with both answers on it everywhere, and we connect to one address only.
        return next((address for address in found if ":" not in address), found[0])

    def _request(
        self, method: str, target: Target, address: str, body: bytes, headers: Mapping[str, str]
    ) -> httpx.Request:
        literal = f"[{address}]" if ":" in address else address
        return self._client.build_request(
            method,
            f"{target.scheme}://{literal}:{target.port}{target.path}",
            content=body,
            headers={"User-Agent": "closeloop", **headers, "Host": target.authority, "Accept-Encoding": "identity"},
            extensions={"sni_hostname": target.host},
        )


async def _answer(response: httpx.Response, deadline: float, limit_bytes: int) -> Answer:
    """The status is the answer: a body that drips or breaks off changes nothing, and is cut at the limit."""
    body = bytearray()
    whole = False
    try:
        async with asyncio.timeout_at(deadline):
            async for piece in response.aiter_raw():
                body += piece[: limit_bytes + 1 - len(body)]
                if len(body) > limit_bytes:
                    break
            else:
                whole = True
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        with contextlib.suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await response.aclose()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, bytes(body[:limit_bytes]), whole)
