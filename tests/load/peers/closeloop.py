"""closeloop's contender: its scoring service as processes, on the roll-up that the job is about."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import numpy as np

from shared.db.embedded import EmbeddedPostgres
from tests.load.peers.measure import Job, Process
from tests.load.peers.topic import WORKSPACE, Recount
from tests.support.postgres import fresh_database

_RULES = {"roll_ups": [["department", "touchpoint"]], "formulas": {}, "time_zone": "UTC", "minimum_n": None}
_SUMS = """
select s.touchpoint, s.department, d.day, d.n, d.top, d.bottom from scoring.day d
join scoring.series s on s.id = d.series and s.generation = d.generation and s.workspace = d.workspace
where s.touchpoint is not null and s.department is not null"""
_A_DAY = 86_400


@dataclass(frozen=True)
class _Scoring:
    environment: dict[str, str]
    logs: list[Path]
    connection: "asyncpg.Connection[asyncpg.Record]"
    database: int
    recount: Recount

    def start(self) -> list[Process]:
        return [self._process(log) for log in self.logs]

    def _process(self, log: Path) -> Process:
        with log.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "services.scoring"],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
            )

    async def counted(self) -> int:
        row = await self.connection.fetchrow(
            "select next_row, published_row from scoring.progress where workspace = $1", WORKSPACE
        )
        return min(row) if row else 0

    async def is_exact(self) -> bool:
        recount = self.recount
        numbers = {recount.key_of(number): number for number in range(len(recount.counts))}
        first = int(recount.first_day.timestamp()) // _A_DAY
        found = np.zeros_like(recount.counts)
        for touchpoint, department, day, *sums in await self.connection.fetch(_SUMS):
            found[numbers[touchpoint, department], day - first] = sums
        return bool((found == recount.counts).all())


@asynccontextmanager
async def job(
    postgres: EmbeddedPostgres, servers: str, recount: Recount, processes: int, logs: Path
) -> AsyncIterator[Job]:
    """So many processes on a fresh database: every answer kept, every score published."""
    with fresh_database(postgres) as url:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(
                "insert into scoring.rules values ($1, 1, $2::jsonb, now())", WORKSPACE, json.dumps(_RULES)
            )
            folder = await connection.fetchval("show data_directory")
            server = int(Path(folder, "postmaster.pid").read_text().split()[0])
            own = {"DATABASE_URL": url, "BUS_URL": f"kafka://{servers}", "HTTP_PORT": "0", "LOG_LEVEL": "warning"}
            files = [logs / f"closeloop-{n}.log" for n in range(processes)]
            yield _Scoring(own, files, connection, server, recount)
        finally:
            await connection.close()
