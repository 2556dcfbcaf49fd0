"""Ingest on Kafka while Kafka, the database or both are away: what was answered 202 reaches the log, in order."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.kafka.broker import KafkaBroker
from services.ingest.outlet import SpoolingOutlet
from shared.db.embedded import EmbeddedPostgres
from shared.telemetry.metrics import REGISTRY
from tests.integration.ingest.conftest import Ingest, running_ingest
from tests.support.kafka import own_broker
from tests.support.poll import eventually
from tests.support.postgres import fresh_database, make_template, running_server

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with own_broker() as broker:
        yield broker


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A database server that tests may stop."""
    with running_server() as server:
        make_template(server)
        yield server


@pytest.fixture
def url(server: EmbeddedPostgres) -> Iterator[str]:
    with fresh_database(server) as url:
        yield url


@asynccontextmanager
async def working(url: str, broker: KafkaBroker, folder: Path) -> AsyncIterator[Ingest]:
    """Ingest with all its components."""
    async with running_ingest(url, folder, f"kafka://{broker.bootstrap}") as ingest:
        tasks = [asyncio.create_task(part.run()) for part in ingest.service.components]
        try:
            yield ingest
        finally:
            for part in ingest.service.components:
                await part.stop()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def ingest(url: str, broker: KafkaBroker, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with working(url, broker, tmp_path) as ingest:
        yield ingest


def answer(customer: str, number: int) -> dict[str, object]:
    return {"id": f"{customer}-{time.time_ns()}-{number}", "kind": "message", "text": str(number),
            "customer": {"id": customer}, "touchpoint": "store"}  # fmt: skip


async def post(ingest: Ingest, customer: str, number: int) -> str:
    """One accepted item; its event id. As a client does, it sends again after a 503: Kafka may take longer than ingest
    waits for it where many tests share two cores."""

    async def accepted() -> str | None:
        response = await ingest.post(answer(customer, number))
        assert response.status_code in (202, 503), response.text
        return str(response.json()["items"][0]["id"]) if response.status_code == 202 else None

    return str(await eventually(accepted, timeout=60))


async def waiting(ingest: Ingest) -> int:
    async with ingest.database.reader() as reader:
        return int(await reader.scalar("select count(*) from outbox"))


async def first_copies(ingest: Ingest) -> list[str]:
    """Event ids of the topic in the order of their first copies, partition by partition."""
    ids = [dict(record.headers)["ce_id"].decode() for record in await ingest.records()]
    return list(dict.fromkeys(ids))


async def ways(ingest: Ingest) -> tuple[int, str]:
    """(status, what /readyz says of the way out)."""
    response = await ingest.client.get("/readyz")
    return response.status_code, response.json()["checks"]["ingest bus"]


async def by_bus_alone(ingest: Ingest) -> bool:
    """Whether all goes to Kafka and nothing is left in the spool."""
    return await ways(ingest) == (200, "ok") and await waiting(ingest) == 0


def last_vain_try_of_the_bus(ingest: Ingest) -> float:
    [outlet] = [part for part in ingest.service.components if isinstance(part, SpoolingOutlet)]
    return outlet._rests_until.get("_by_bus", 0.0)


def spooled() -> float:
    return REGISTRY.get_sample_value("ingest_spooled_events_total") or 0


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_broker_that_is_away_stops_nobody_and_order_is_kept(
    ingest: Ingest, broker: KafkaBroker, fault: str
) -> None:
    accepted = {customer: [await post(ingest, customer, 0)] for customer in ("mina", "deniz", "ali")}

    async def shipped() -> bool:
        return await waiting(ingest) == 0 and (await ways(ingest))[1] == "ok"

    await eventually(shipped)

    async def customer_goes_on(customer: str, numbers: range) -> None:
        for number in numbers:
            accepted[customer].append(await post(ingest, customer, number))

    pid = broker.pid
    assert pid
    broker.kill() if fault == "killed" else os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.gather(*(customer_goes_on(customer, range(1, 20)) for customer in accepted))
        assert await waiting(ingest) == 3 * 19
        status, said = await ways(ingest)
        assert (status, said) == (200, "ok: the bus is out of reach: accepted events wait in the database")
        assert REGISTRY.get_sample_value("ingest_spooling") == 1
    finally:
        broker.start() if fault == "killed" else os.kill(pid, signal.SIGCONT)
    # Those that come while the spool is shipped queue up behind it.
    await asyncio.gather(*(customer_goes_on(customer, range(20, 60)) for customer in accepted))
    await eventually(shipped, timeout=90)
    before = spooled()
    await asyncio.gather(*(customer_goes_on(customer, range(60, 65)) for customer in accepted))
    assert spooled() == before, "the way is open again"
    log = await first_copies(ingest)
    for ids in accepted.values():
        assert [one for one in log if one in set(ids)] == ids


async def test_another_process_queues_up_behind_the_spool_at_once_and_both_leave_it_under_load(
    ingest: Ingest, url: str, broker: KafkaBroker, tmp_path: Path
) -> None:
    async with working(url, broker, tmp_path) as other:
        other.keys = ingest.keys
        first = await post(ingest, "mina", 0)
        await post(other, "ali", 0)

        async def settled() -> bool:
            """The broker may be slow at first: then a spool is open before it is killed."""
            return all(
                [
                    await by_bus_alone(one) and last_vain_try_of_the_bus(one) < time.monotonic()
                    for one in (ingest, other)
                ]
            )

        await eventually(settled, timeout=60)
        before, before_too = last_vain_try_of_the_bus(ingest), last_vain_try_of_the_bus(other)
        broker.kill()
        try:
            second = await post(ingest, "mina", 1)
            third = await post(other, "mina", 2)
            assert last_vain_try_of_the_bus(ingest) > before
            assert last_vain_try_of_the_bus(other) == before_too, "it knew of the spool"
        finally:
            broker.start()

        accepted = [first, second, third]
        done = asyncio.Event()

        async def goes_on() -> None:
            """One customer, whose every message meets the other process."""
            while not done.is_set():
                accepted.append(await post((ingest, other)[len(accepted) % 2], "mina", len(accepted)))

        async def steady(process: Ingest, customer: str) -> None:
            while not done.is_set():
                await post(process, customer, 0)

        async def both_open() -> bool:
            return [(await ways(process))[1] for process in (ingest, other)] == ["ok", "ok"]

        load = [asyncio.create_task(one) for one in (goes_on(), steady(ingest, "ali"), steady(other, "deniz"))]
        try:
            await eventually(both_open, timeout=90)
        finally:
            done.set()
            await asyncio.gather(*load)

        async def shipped() -> bool:
            return await waiting(ingest) == 0

        await eventually(shipped)
        log = await first_copies(ingest)
        assert [one for one in log if one in set(accepted)] == accepted


async def test_ingest_starts_and_accepts_while_the_broker_is_away(
    ingest: Ingest, url: str, broker: KafkaBroker, tmp_path: Path
) -> None:
    await post(ingest, "mina", 0)  # the topics are there
    broker.kill()
    try:
        async with asyncio.timeout(20):
            starting = working(url, broker, tmp_path)
            late = await starting.__aenter__()
        try:
            accepted = await post(late, "ali", 1)
            assert (await ways(late))[0] == 200
            broker.start()

            async def there() -> bool:
                return accepted in await first_copies(ingest)

            await eventually(there, timeout=90)
        finally:
            await starting.__aexit__(None, None, None)
    finally:
        broker.start()


async def test_with_the_database_away_kafka_alone_takes_it_and_with_both_away_the_answer_is_503_at_once(
    ingest: Ingest, server: EmbeddedPostgres, broker: KafkaBroker
) -> None:
    await post(ingest, "mina", 0)
    # Kafka, just started, may have been too slow for it: while it waits in the spool, nothing may pass it.
    await eventually(lambda: by_bus_alone(ingest), timeout=60)
    os.kill(server.pid, signal.SIGSTOP)  # no new connection; the old ones still answer: so they are ended too
    server_processes = _children(server.pid)
    for pid in server_processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        accepted = [await post(ingest, "mina", number) for number in range(1, 6)]
        status, said = await ways(ingest)
        assert (status, said) == (200, "ok: the database is out of reach: accepted events go to the bus alone")
        log = await first_copies(ingest)
        assert [one for one in log if one in set(accepted)] == accepted
        broker.kill()
        try:
            refused = await ingest.post(answer("mina", 6))
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert (await ingest.post(answer("mina", 7))).status_code == 503  # may learn of the outage only here
            began = time.monotonic()
            again = await ingest.post(answer("mina", 8))
            assert (again.status_code, time.monotonic() - began < 0.5) == (503, True)
            assert (await ways(ingest))[0] == 503
        finally:
            broker.start()
    finally:
        for pid in [*server_processes, server.pid]:
            os.kill(pid, signal.SIGCONT)

    async def taken() -> bool:
        return (await ingest.post(answer("mina", 9))).status_code == 202

    await eventually(taken, timeout=60)


def _children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in tasks]
