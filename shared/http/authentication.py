"""API keys at the door of every route: `Authorization: Bearer clk_…` or `X-API-Key: clk_…`."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from fastapi import Request

from shared.auth.keys import Principal, Role, matches, parse_key
from shared.core.errors import Forbidden, Unauthenticated, Unavailable
from shared.db.platform import ApiKeys, StoredKey

# A revoked key works on for at most this long; in exchange a request costs no query.
CACHE_SECONDS = 5.0
# While the database is away known keys go on working, so that ingest can go on accepting (delivery.md P11).
OUTAGE_CACHE_SECONDS = 3600.0
# A known key waits no longer for its renewal: the route behind us has to answer within 2 s of an outage too.
_KNOWN_KEY_SECONDS = 0.3
# After a failed query the database is asked again at most so often.
_RETRY_SECONDS = 1.0
_CACHE_LIMIT = 10_000
_REFUSED = "no valid API key; send it as `Authorization: Bearer clk_…`"


class Authenticator:
    """Finds who asks. `require` makes the dependency of a route."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        # Only keys that exist: whoever makes up ids must not push out those that an outage needs.
        self._cache: dict[str, tuple[float, StoredKey]] = {}
        self._away = False
        self._retry_at = 0.0
        self._finding: dict[str, asyncio.Task[StoredKey | None]] = {}

    def require(self, *roles: Role) -> Callable[[Request], Awaitable[Principal]]:
        """A FastAPI dependency that gives the Principal: 401 without a good key, 403 with one that lacks the role."""

        async def principal(request: Request) -> Principal:
            return await self.authorize(_presented(request), *roles)

        return principal

    async def authorize(self, presented: str, *roles: Role) -> Principal:
        """The Principal of a key. Raises Unauthenticated or Forbidden."""
        parsed = parse_key(presented)
        stored = None if parsed is None else await self._find(parsed[0])
        if parsed is None or stored is None or stored.revoked_at or not matches(parsed[1], stored.secret_hash):
            raise Unauthenticated(_REFUSED)
        held = frozenset(Role(role) for role in stored.roles if role in set(Role))
        found = Principal(stored.workspace, stored.id, stored.name, held)
        if not found.may(*roles):
            raise Forbidden(f"this key has no role that allows it; needed: {', '.join(sorted(roles))} or admin")
        return found

    async def _find(self, key_id: str) -> StoredKey | None:
        now = time.monotonic()
        found_at, known = self._cache.get(key_id, (float("-inf"), None))
        if now - found_at < CACHE_SECONDS:
            return known
        usable = now - found_at < OUTAGE_CACHE_SECONDS
        if self._away and usable:
            if now >= self._retry_at:
                self._lookup(key_id)  # beside the request, which need not wait for an outage
            return known
        lookup = self._lookup(key_id)
        if usable and not (await asyncio.wait({lookup}, timeout=_KNOWN_KEY_SECONDS))[0]:
            return known
        try:
            return await asyncio.shield(lookup)
        except Unavailable:
            if usable:
                return known
            raise

    def _lookup(self, key_id: str) -> "asyncio.Task[StoredKey | None]":
        """One query for all requests that wait for the same key: a burst must not exhaust the pool."""
        task = self._finding.get(key_id)
        if task is None:
            task = self._finding[key_id] = asyncio.create_task(self._ask(key_id), name="find key")
            task.add_done_callback(lambda done: self._found(key_id, done))
        return task

    async def _ask(self, key_id: str) -> StoredKey | None:
        asked_at = time.monotonic()
        try:
            stored = await self._keys.find(key_id)
        except Unavailable:
            self._away, self._retry_at = True, time.monotonic() + _RETRY_SECONDS
            raise
        self._away = False
        self._cache.pop(key_id, None)
        if stored is not None:
            self._cache[key_id] = (asked_at, stored)
            if len(self._cache) > _CACHE_LIMIT:
                del self._cache[next(iter(self._cache))]  # the one that was looked up longest ago
        return stored

    def _found(self, key_id: str, done: "asyncio.Task[StoredKey | None]") -> None:
        del self._finding[key_id]
        if not done.cancelled():
            done.exception()  # seen here, should every request that waited for it be gone


def _presented(request: Request) -> str:
    if key := request.headers.get("x-api-key"):
        return key
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""
