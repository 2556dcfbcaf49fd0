"""closeloop's contender: its scoring service as processes, on the roll-up that the job is about."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import numpy as np

from shared.db.embedded import EmbeddedPostgres
from tests.load.peers import measure
from tests.load.peers.measure import Run
from tests.load.peers.topic import WORKSPACE, Recount
from tests.support.postgres import fresh_database

_RULES = {"roll_ups": [["department", "touchpoint"]], "formulas": {}, "time_zone": "UTC", "minimum_n": None}
_SUMS = """
select s.touchpoint, s.department, d.day, d.n, d.top, d.bottom from scoring.day d
join scoring.series s on s.id = d.series and s.generation = d.generation and s.workspace = d.workspace
where s.touchpoint is not null and s.department is not null"""
_A_DAY = 86_400


async def run(
    postgres: EmbeddedPostgres, servers: str, recount: Recount, processes: int, logs: Path, limit_seconds: float
) -> Run:
    """Count the whole topic with so many processes on a fresh database: every answer kept, every score published."""
    events = int(recount.counts[:, :, 0].sum())
    with fresh_database(postgres) as url:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(
                "insert into scoring.rules values ($1, 1, $2::jsonb, now())", WORKSPACE, json.dumps(_RULES)
            )
            folder = await connection.fetchval("show data_directory")
            server = int(Path(folder, "postmaster.pid").read_text().split()[0])
            before = measure.tree_cpu_seconds(server)
            started = [_start(url, servers, logs / f"closeloop-{n}.log") for n in range(processes)]
            try:
                return await _measured(connection, started, events, recount, server, before, limit_seconds)
            finally:
                for process in started:
                    process.send_signal(signal.SIGTERM)
                for process in started:
                    await asyncio.to_thread(process.wait, 30)
        finally:
            await connection.close()


def _start(url: str, servers: str, log: Path) -> "subprocess.Popen[bytes]":
    own = {"DATABASE_URL": url, "BUS_URL": f"kafka://{servers}", "HTTP_PORT": "0", "LOG_LEVEL": "warning"}
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "services.scoring"], env={**os.environ, **own}, stdout=output, stderr=output
        )


async def _measured(
    connection: "asyncpg.Connection[asyncpg.Record]",
    started: "list[subprocess.Popen[bytes]]",
    events: int,
    recount: Recount,
    server: int,
    before: float,
    limit_seconds: float,
) -> Run:
    async def through() -> bool:
        row = await connection.fetchrow(
            "select next_row, published_row from scoring.progress where workspace = $1", WORKSPACE
        )
        return row is not None and tuple(row) == (events, events)

    seconds = await measure.until(through, lambda: all(one.poll() is None for one in started), limit_seconds)
    pids = [process.pid for process in started]
    cost = measure.cpu_seconds(pids), measure.tree_cpu_seconds(server) - before, measure.peak_bytes(pids)
    return Run(seconds, *cost, exact=await _is_exact(connection, recount))


async def _is_exact(connection: "asyncpg.Connection[asyncpg.Record]", recount: Recount) -> bool:
    numbers = {recount.key_of(number): number for number in range(len(recount.counts))}
    first = int(recount.first_day.timestamp()) // _A_DAY
    found = np.zeros_like(recount.counts)
    for touchpoint, department, day, *sums in await connection.fetch(_SUMS):
        found[numbers[touchpoint, department], day - first] = sums
    return bool((found == recount.counts).all())
