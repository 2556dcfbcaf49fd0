"""The fetcher: claim → call → record, for what deliveries only name and for vendors without webhooks.

A claim (a lease, committed before the call) is of one object, and of one object of a source at a time. The call happens
outside any transaction; events and what comes next are recorded in one. A crash between the two fetches again: the
events have the same ids, so that every consumer drops the repeat.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.ingest import repository, wants
from services.ingest.cipher import Cipher
from services.ingest.directory import Source, source_of
from services.ingest.outlet import BusOutlet, Received, SpoolingOutlet
from services.ingest.service import fetched_by
from services.ingest.sources import CONNECTORS
from services.ingest.sources.base import Wanted
from services.ingest.sources.fetching import Fetched, FetchingConnector, FetchSettings, Request
from shared.bus import codec
from shared.core.errors import BadRecord, CloseloopError, InvalidInput
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.db.wakeup import wait
from shared.http.addresses import AddressRefused
from shared.http.outbound import TOTAL_SECONDS, Answer, NoAnswer, NotSent, OutboundClient
from shared.runtime.patience import through_outage
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import ACCEPTED, FETCHES

log = get_logger(__name__)
ANSWER_LIMIT_BYTES = 1024 * 1024
# Two calls (a token for the operator's credential, then the object), and the record of both.
LEASE_SECONDS = 2 * TOTAL_SECONDS + 30.0
GIVE_UP_SECONDS = 48 * 3600.0
_FIRST_RETRY_SECONDS = 5.0
_LONGEST_SECONDS = 3600.0
# An answer that is not understood is not asked for again at once: nothing will have changed.
_UNREAD_ATTEMPTS = 4
# Marks the cursor of a poller whose last answer was not understood: of several in a row the first is kept.
_UNREAD = "unread"
_CONCURRENCY = 20
_IDLE_SECONDS = 1.0
_LEAST_IDLE_SECONDS = 0.02
_POLLERS_SECONDS = 5.0
# A credential for a while is asked for anew this long before its end.
_ACCESS_MARGIN_SECONDS = 60.0
# What this process knows: those of a newer version are left to processes of that.
_FETCHING = {name: one for name, one in CONNECTORS.items() if isinstance(one, FetchingConnector)}
_CONNECTORS = list(_FETCHING)
_POLLERS = {name: one.polled for name, one in _FETCHING.items() if one.polled}


class Failed(Exception):
    """A call that gave nothing. `outcome` is its name in the metric; `retry_seconds` None means the usual schedule;
    for `pause_seconds` nothing of the source is fetched."""

    def __init__(
        self, outcome: str, reason: str, retry_seconds: float | None = None, pause_seconds: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.retry_seconds = retry_seconds
        self.pause_seconds = pause_seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """What this process alone may fetch now."""

    source: Source
    connector: FetchingConnector
    settings: FetchSettings
    wanted: Wanted
    lease: Mapping[str, Any]
    attempts: int
    age_seconds: float
    changed_at: datetime

    @property
    def polled(self) -> bool:
        """It is fetched for as long as the source is there."""
        return self.wanted.object == self.connector.polled

    @property
    def where(self) -> tuple[str, str]:
        """Workspace and source."""
        return self.source.origin.workspace, self.source.origin.source


@dataclass(frozen=True, slots=True)
class Result:
    """What an answer gave: `body` is it, for a dead letter where `error` says that some of it was not understood."""

    fetched: Fetched | None
    events: tuple[Received, ...]
    error: BadRecord | None
    body: bytes


class Fetcher:
    """A component; any number of processes may run it."""

    name = "ingest-fetcher"

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        client: OutboundClient,
        outlet: BusOutlet | SpoolingOutlet,
        wakeup: asyncio.Event,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._client = client
        self._outlet = outlet
        self._wakeup = wakeup
        self._lease_seconds = lease_seconds
        self._calls: set[asyncio.Task[None]] = set()
        self._accesses: dict[str, tuple[str, float]] = {}
        self._refused: set[tuple[str, str]] = set()
        self._pollers_at = float("-inf")
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Fetch until `stop`, then finish the calls under way."""
        try:
            while not self._stopping.is_set():
                await through_outage(self._keep_pollers, stopping=self._stopping)
                if not await self._turn():
                    await wait(self._wakeup, await through_outage(self._idle_seconds, stopping=self._stopping))
            if self._calls:
                await asyncio.gather(*self._calls, return_exceptions=True)
        finally:
            for call in self._calls:
                call.cancel()

    async def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self._wakeup.set()

    async def _keep_pollers(self) -> None:
        if time.monotonic() - self._pollers_at < _POLLERS_SECONDS:
            return
        async with self._database.unit_of_work() as uow:
            await repository.keep_pollers(uow, _POLLERS)
        self._pollers_at = time.monotonic()

    async def _idle_seconds(self) -> float:
        if len(self._calls) >= _CONCURRENCY:
            return _IDLE_SECONDS  # the end of a call wakes us
        async with self._database.glance() as reader:
            seconds = await repository.next_fetch_seconds(reader, _CONNECTORS)
        return _IDLE_SECONDS if seconds is None else min(_IDLE_SECONDS, max(_LEAST_IDLE_SECONDS, seconds))

    async def _turn(self) -> bool:
        """Claim what there is room for and start its calls; False when there is nothing to do now."""
        room = _CONCURRENCY - len(self._calls)
        if room <= 0:
            return False
        claims = await through_outage(lambda: self._claim(room), stopping=self._stopping)
        for claim in claims:
            call = asyncio.create_task(self._fetch(claim))
            self._calls.add(call)
            call.add_done_callback(self._forget)
        return bool(claims)

    def _forget(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._wakeup.set()
        if not call.cancelled() and (error := call.exception()) is not None:
            log.error("fetch_broke", error=type(error).__name__, exc_info=error)  # its lease ends: it is tried again

    async def _claim(self, room: int) -> list[Claim]:
        """Each claim moves the source's next call on by its pace, for all processes."""
        claims: list[Claim] = []
        pauses: list[tuple[str, str, datetime, float]] = []
        async with self._database.unit_of_work() as uow:
            for row in await repository.claim(uow, _CONNECTORS, room, self._lease_seconds):
                claim = self._claimed(row)
                pace = _LONGEST_SECONDS if claim is None else 60.0 / claim.settings.requests_per_minute
                pauses.append((row.workspace, row.name, row.changed_at, pace))
                if claim is None:
                    await repository.retry(uow, _lease(row), row.detail, 0.0)
                else:
                    claims.append(claim)
            await repository.pause(uow, pauses)
        return claims

    def _claimed(self, row: Any) -> Claim | None:
        try:
            source = source_of(row, self._cipher)
        except CloseloopError as error:
            log.error("source_unusable", workspace=row.workspace, source=row.name, reason=error.detail)
            return None
        connector, settings = source.connector, source.settings
        if not isinstance(connector, FetchingConnector) or not isinstance(settings, FetchSettings):
            return None
        wanted = Wanted(row.object, row.detail)
        lease = _lease(row)
        return Claim(source, connector, settings, wanted, lease, row.attempts, row.age_seconds, row.changed_at)

    async def _fetch(self, claim: Claim) -> None:
        try:
            body = await self._body(claim)
        except Failed as error:
            failed = error
            await through_outage(lambda: self._record_failure(claim, failed), stopping=self._stopping)
            return
        self._refused.discard(claim.where)
        result = await asyncio.to_thread(_read, claim, body)
        if result.events:
            # Before it is recorded: fetched again after a crash, the events have the same ids.
            messages, workspace = list(map(codec.encode, result.events)), claim.source.origin.workspace
            await through_outage(lambda: self._outlet.send(messages, workspace), stopping=self._stopping)
        await through_outage(lambda: self._record(claim, result), stopping=self._stopping)

    async def _body(self, claim: Claim) -> bytes:
        """The answer of the vendor's API. Raises Failed."""
        if not claim.source.token:
            raise _refusal("it has no token")
        try:
            token = await self._access(claim)
            request = claim.connector.request(claim.settings, claim.wanted, token)
        except InvalidInput as error:
            raise _refusal(f"its token or its settings cannot be used: {error.faults[0].reason}") from None
        answer = await self._call(request)
        if answer.status in (401, 403):
            self._accesses.pop(_access_key(claim), None)
        return _judged(answer, polled=claim.polled)

    async def _access(self, claim: Claim) -> str:
        """The operator's token, or what it was exchanged for. Raises Failed or InvalidInput."""
        exchange = claim.connector.exchange(claim.settings, claim.source.token)
        if exchange is None:
            return claim.source.token
        key = _access_key(claim)
        token, until = self._accesses.get(key, ("", 0.0))
        if time.monotonic() < until:
            return token
        answer = await self._call(exchange)
        if answer.status == 400:  # so a token endpoint says that it does not take the credential
            raise _refusal("the vendor does not take its token")
        access = claim.connector.exchanged(_judged(answer, polled=True))
        self._accesses[key] = (access.token, time.monotonic() + access.seconds - _ACCESS_MARGIN_SECONDS)
        return access.token

    async def _call(self, request: Request) -> Answer:
        url, headers, limit = request.url, request.headers, ANSWER_LIMIT_BYTES
        try:
            if request.method == "GET":
                return await self._client.get(url, headers, limit_bytes=limit)
            return await self._client.post(url, request.body, headers, limit_bytes=limit)
        except AddressRefused as error:
            raise _refusal(error.detail) from None
        except (NotSent, NoAnswer) as error:
            raise Failed("failed", error.detail) from None

    async def _record(self, claim: Claim, result: Result) -> None:
        async with self._database.unit_of_work() as uow:
            if result.error is not None and (result.fetched or _UNREAD not in claim.wanted.detail):
                await wants.park(uow, claim.source, claim.wanted, result.body, result.error, claim.attempts + 1)
            await self._go_on(uow, claim, result)
        connector = claim.source.origin.connector
        ACCEPTED.labels(connector).inc(len(result.events))
        FETCHES.labels(connector, "ok" if result.error is None else "not_understood").inc()
        if result.error is not None:
            log.warning("fetch_parked", workspace=claim.where[0], source=claim.where[1])

    async def _go_on(self, uow: UnitOfWork, claim: Claim, result: Result) -> None:
        fetched = result.fetched
        if fetched is not None:
            await wants.want(uow, claim.source, fetched.parsed.wanted)
        if fetched is not None and fetched.following is not None:
            await repository.go_on(uow, claim.lease, fetched.following, fetched.after_seconds)
        elif claim.polled:
            again = {**claim.connector.restarted(claim.wanted).detail, _UNREAD: True}
            seconds = retry_seconds(max(claim.attempts, _UNREAD_ATTEMPTS))
            await repository.retry(uow, claim.lease, again, seconds)
        else:
            await repository.done(uow, claim.lease)

    async def _record_failure(self, claim: Claim, failed: Failed) -> None:
        over = claim.age_seconds > GIVE_UP_SECONDS and not claim.polled
        async with self._database.unit_of_work() as uow:
            if failed.pause_seconds:
                await repository.pause(uow, [(*claim.where, claim.changed_at, failed.pause_seconds)])
            if failed.outcome == "gone":
                await repository.done(uow, claim.lease)
            elif over:
                await wants.park(uow, claim.source, claim.wanted, None, BadRecord(failed.reason), claim.attempts + 1)
                await repository.done(uow, claim.lease)
            else:
                again = claim.connector.restarted(claim.wanted) if failed.outcome == "bad_request" else claim.wanted
                seconds = retry_seconds(claim.attempts) if failed.retry_seconds is None else failed.retry_seconds
                await repository.retry(uow, claim.lease, again.detail, seconds)
        FETCHES.labels(claim.source.origin.connector, "given_up" if over else failed.outcome).inc()
        self._tell(claim, failed)

    def _tell(self, claim: Claim, failed: Failed) -> None:
        """A refusal is told once: until it is mended every object of the source meets it."""
        workspace, name = claim.where
        if failed.outcome != "refused":
            log.info("fetch_failed", workspace=workspace, source=name, outcome=failed.outcome, reason=failed.reason)
        elif claim.where not in self._refused:
            self._refused.add(claim.where)
            hint = f"look at it, then `closeloop sources token {name}`; it is tried again within the hour"
            log.error("fetch_refused", workspace=workspace, source=name, reason=failed.reason, hint=hint)


def retry_seconds(attempts: int) -> float:
    """Wait after so many attempts before this one: from 5 s doubling to an hour, with jitter of ± 20 %."""
    seconds = min(_LONGEST_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(attempts, 20))
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret


def _lease(row: Any) -> dict[str, Any]:
    where = {"workspace": row.workspace, "source": row.name, "object": row.object}
    return {**where, "claims": row.claims, "version": row.version}


def _read(claim: Claim, body: bytes) -> Result:
    """In a thread: a page of a megabyte takes longer than a request may wait."""
    try:
        fetched, events, error = fetched_by(claim.source, claim.wanted, body)
    except InvalidInput as unreadable:
        return Result(None, (), BadRecord(unreadable.detail, faults=unreadable.faults), body)
    except Exception as broken:
        # The connector is at fault: the answer waits as a dead letter for a mended one, the vendor is not asked again.
        log.error("connector_broke", connector=claim.source.origin.connector, error=type(broken).__name__)
        return Result(None, (), BadRecord(f"the connector broke on it: {type(broken).__name__}"), body)
    return Result(fetched, tuple(events), error, body)


def _judged(answer: Answer, *, polled: bool) -> bytes:
    """The body of a good answer. Raises Failed for every other."""
    status = answer.status
    told = f"the vendor's API answered {status}"
    if 200 <= status < 300:
        if not answer.whole and len(answer.body) < ANSWER_LIMIT_BYTES:
            raise Failed("failed", "the answer of the vendor's API broke off")
        return answer.body  # what is cut at the limit is not understood, and kept as far as it goes
    if status in (429, 503):
        seconds = min(_LONGEST_SECONDS, max(1.0, answer.retry_after_seconds() or _FIRST_RETRY_SECONDS))
        raise Failed("throttled", told, retry_seconds=seconds, pause_seconds=seconds)
    if status in (401, 403):
        raise _refusal(f"{told}: the token is no longer good, or lacks a right")
    if status in (404, 410):
        raise _refusal(f"{told}: there is nothing where its settings point to") if polled else Failed("gone", told)
    raise Failed("bad_request" if status == 400 else "failed", told)


def _refusal(reason: str) -> Failed:
    return Failed("refused", reason, retry_seconds=0.0, pause_seconds=_LONGEST_SECONDS)


def _access_key(claim: Claim) -> str:
    """Of the credential itself: a new one is exchanged anew."""
    return hashlib.sha256("\x1f".join([*claim.where, claim.source.token]).encode()).hexdigest()
