"""The procedures of docs/operations.md, as they stand there, on a real database."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.scoring import handlers
from services.scoring.service import ScoringService
from shared.bus import Bus
from shared.bus.connect import topics_of
from shared.bus.port import OffsetOutOfRange
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.database import Database
from shared.db.embedded import EmbeddedPostgres
from shared.db.embedded_host import programs
from shared.db.migrate import upgrade
from shared.runtime.consumer import ConsumerLoop
from tests.architecture.operations_page import blocks, statements
from tests.integration.scoring.support import NOW, answered, count_all, kept, outbox, publish_all, rating, scoring
from tests.support.harness import running, send, started_bus
from tests.support.poll import eventually

SUMS = "select * from day where n <> 0 order by workspace, series, day, measure"
BEGIN_AT_FIRST = statements("begin at the first record kept")


@pytest.fixture
async def bus(database_url: str) -> AsyncIterator[Bus]:
    async with started_bus(database_url, topics=topics_of("postgres")) as bus:
        yield bus


@pytest.fixture
async def made(database_url: str) -> AsyncIterator[tuple[ScoringService, Database]]:
    async with scoring(database_url) as made:
        yield made


def history(first: int, last: int) -> list[Event[Any]]:
    """Answers over forty days of three departments; every fifth is corrected, every seventh removed."""
    events: list[Event[Any]] = []
    for n in range(first, last):
        fields: dict[str, Any] = {"at": NOW - timedelta(hours=7 * (n % 140)), "department": f"d{n % 3}"}
        events.append(answered(n, rating("nps", n % 11), **fields))
        if n % 5 == 0:
            events.append(answered(n, rating("nps", (n + 4) % 11), revision=1, **fields))
        if n % 7 == 0:
            events.append(answered(n, revision=2, removed=True, **fields))
    return events


async def rated(database: Database) -> int:
    """How much of `history` is kept; what a removal says of words that were never said is no part of it."""
    ours = {event.data.feedback_id for event in history(0, 1000)}
    return len({key for _, key, *_ in await kept(database)} & ours)


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def rows(database: Database, statement: str) -> Sequence[tuple[Any, ...]]:
    async with database.reader() as reader:
        return [tuple(row) for row in await reader.all(statement)]


@asynccontextmanager
async def consuming(bus: Bus, made: tuple[ScoringService, Database]) -> AsyncIterator[None]:
    """Scoring's consumer, until it has read everything."""
    service, database = made
    async with running(ConsumerLoop(bus, database, handlers.subscription(service, 50))):
        yield
        await eventually(lambda: at_the_end(bus, database))
    await count_all(service)


async def at_the_end(bus: Bus, database: Database) -> bool:
    ends = {partition: end for partition, (_, end) in (await bus.offsets(FEEDBACK_RECEIVED.name)).items()}
    statement = f"select partition, next_offset from consumer_position where topic = '{FEEDBACK_RECEIVED.name}'"
    return dict(await rows(database, statement)) == ends  # type: ignore[arg-type]


async def last_published(database: Database) -> dict[tuple[Any, str], Any]:
    """Series → what consumers of score.updated.v1 believe."""
    return {
        (event.data.series.model_dump_json(),): event.data.model_dump(exclude={"as_of", "cause"})
        for event in await outbox(database)
    }


@pytest.mark.parametrize("sql", blocks("sql"), ids=lambda sql: sql.splitlines()[0])
async def test_every_statement_of_the_page_runs(database_url: str, sql: str) -> None:
    await execute(database_url, sql)


async def test_scores_are_rebuilt_from_the_log(database_url: str, bus: Bus, made: Any) -> None:
    service, database = made
    await send(bus, history(0, 300))
    async with consuming(bus, made):
        pass
    await publish_all(service)
    before = [await rows(database, SUMS), await kept(database), await last_published(database)]
    assert all(before)

    # sums that are wrong, answers that are gone, and a score that was published from them
    await execute(database_url, "update scoring.day set n = n + 3, top = top + 3")
    await execute(database_url, "delete from scoring.block where id % 2 = 0")
    await execute(database_url, statements("rebuild scores: publish what differs"))
    await publish_all(service)
    wrong = [await rows(database, SUMS), await kept(database), await last_published(database)]
    assert all(now != then for now, then in zip(wrong, before, strict=True))

    await execute(database_url, statements("rebuild scores: forget"))
    async with consuming(bus, made):
        pass
    await execute(database_url, statements("rebuild scores: publish what differs"))
    await publish_all(service)
    assert [await rows(database, SUMS), await kept(database), await last_published(database)] == before
    ids = [event.id for event in await outbox(database)]
    assert len(set(ids)) == len(ids), "an id of score.updated.v1 was used twice: consumers would drop the second"


async def test_a_position_beyond_the_log_ends_the_process_until_a_person_decides(
    database_url: str, bus: Bus, made: Any
) -> None:
    service, database = made
    await send(bus, history(0, 20))
    async with consuming(bus, made):
        pass
    counted = await rows(database, SUMS)
    await execute(
        database_url, "update scoring.consumer_position set next_offset = next_offset + 1000 where next_offset > 0"
    )
    with pytest.raises(OffsetOutOfRange):
        async with asyncio.timeout(20):
            await ConsumerLoop(bus, database, handlers.subscription(service, 50)).run()

    await execute(database_url, BEGIN_AT_FIRST)
    async with consuming(bus, made):
        pass
    assert await rows(database, SUMS) == counted, "what was handled before was handled again"
    await send(bus, history(20, 40))
    async with consuming(bus, made):
        pass
    assert await rated(database) == 40


async def test_a_restored_schema_reads_the_log_again_from_where_it_stood(
    database_url: str, bus: Bus, made: Any, tmp_path: Path
) -> None:
    service, database = made
    dump = tmp_path / "scoring.dump"
    await send(bus, history(0, 100))
    async with consuming(bus, made):
        pass
    await asyncio.to_thread(run, "pg_dump", "--format=custom", f"--file={dump}", f"--dbname={database_url}")
    await send(bus, history(100, 200))
    async with consuming(bus, made):
        pass
    await publish_all(service)
    before = [await rows(database, SUMS), await kept(database), await last_published(database)]

    await execute(database_url, statements("restore one schema: make room"))
    restore = ("pg_restore", "--exit-on-error", "--schema=scoring", f"--dbname={database_url}", str(dump))
    await asyncio.to_thread(run, *restore)
    assert await rated(database) == 100
    async with consuming(bus, made):
        pass
    await publish_all(service)
    assert [await rows(database, SUMS), await kept(database), await last_published(database)] == before


async def test_a_restored_database_is_complete(database_url: str, postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    dump = tmp_path / "closeloop.dump"
    postgres.execute("create database restored")
    restored = postgres.url("restored")
    try:
        await asyncio.to_thread(run, "pg_dump", "--format=custom", f"--file={dump}", f"--dbname={database_url}")
        await asyncio.to_thread(run, "pg_restore", "--exit-on-error", f"--dbname={restored}", str(dump))
        await asyncio.to_thread(upgrade, restored)
        assert await described(restored) == await described(database_url)
    finally:
        postgres.execute("drop database restored with (force)")


async def described(url: str) -> list[tuple[Any, ...]]:
    """Tables with who may do what, and their policies: without these requests would see nothing, or everything."""
    connection = await asyncpg.connect(url)
    try:
        return [
            tuple(row)
            for row in await connection.fetch(
                """select n.nspname, n.nspacl::text, c.relname, c.relacl::text, c.relforcerowsecurity,
                    array(select polname::text from pg_policy where polrelid = c.oid order by 1)
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname !~ '^(pg_|information_schema|public)' order by 1, 3"""
            )
        ]
    finally:
        await connection.close()


def run(program: str, *arguments: str) -> None:
    subprocess.run([str(programs() / program), *arguments], check=True, timeout=60)
