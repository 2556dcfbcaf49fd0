"""`make bench-rebuild`: other rules over millions of kept answers while answers come in, and what that does to scores.

The answers are stored as a consumer stores them, counted, and published. Then the roll-ups change: all answers are
counted anew in the background, beside live traffic, and the new sums take the place of the old in one step. Every
publication is looked at: the answers of a series of the last 90 days may only grow here, by what has come, and never by
more. Then a fresh process opens what is stored, and series are asked for. Prints what it took; exit status 1 where a
publication was wrong, or a sum is not what a recount gives.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

import numpy as np

from services.scoring.domain.answers import ROW, Block, Cause, Origin, Question, microseconds
from services.scoring.domain.rules import Rules
from services.scoring.projector import Projector
from services.scoring.repository import blocks
from services.scoring.service import ScoreFilter, ScoringService
from shared.bus import codec
from shared.contracts.score_updated import ScoreUpdatedV1
from shared.core.ids import name_id
from shared.db.database import Database
from shared.db.unit_of_work import load_headers
from shared.db.wakeup import Wakeups
from shared.runtime.lease import Lease
from tests.support.harness import running
from tests.support.poll import eventually
from tests.support.postgres import fresh_database, make_template, running_server

WORKSPACE = "rebuild"
BEFORE = Rules(roll_ups=(("department",), ("touchpoint",)))
AFTER = Rules(roll_ups=(("department",), ("touchpoint",), ("department", "touchpoint")))
SERIES = "nps|transactional|90d|"
A_BLOCK, AT_ONCE, DAYS = 10_000, 20, 120
QUERIES, RESTARTS = 300, 3
_ORIGINS = [
    Origin("transactional", "s", f"touchpoint-{t:02}", f"department-{d:02}", None, None, "email", None)
    for t in range(12)
    for d in range(20)
]
_ASKED = [Question("nps", "nps", 0, 10)]


def answers(n: int, dice: np.random.Generator, begin: float, end: float) -> Block:
    """So many answers from `begin` to `end` days ago, as the intake makes them of records."""
    rows = np.zeros(n, dtype=ROW)
    for name in ("id_high", "id_low", "person_high", "person_low"):
        rows[name] = dice.integers(1, 2**63, n)
    age = (dice.uniform(end, begin, n) * 86_400e6).astype(np.int64)
    rows["at"] = microseconds(datetime.now(UTC)) - age - 1
    rows["value"] = dice.choice((10, 10, 9, 9, 9, 8, 8, 7, 7, 6, 5, 3, 0), n)
    rows["origin"] = dice.integers(0, len(_ORIGINS), n)
    rows["parts"] = 1
    identity = name_id("rebuild", str(int(rows["id_low"][0])))
    return Block(WORKSPACE, rows, _ORIGINS, _ASKED, [Cause(identity, identity, None)] * len(_ORIGINS))


async def store(database: Database, several: Sequence[Block]) -> None:
    """Blocks, in a transaction of a consumer."""
    async with database.unit_of_work() as uow:
        await blocks.store(uow, several)


class Watcher:
    """Reads what is published of the series over all answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = 0
        self.seen: list[tuple[float, ScoreUpdatedV1]] = []

    async def look(self) -> None:
        """Take what has been published since, and delete it as the relay does."""
        async with self._database.unit_of_work() as uow:
            taken = "delete from outbox where id > :after returning id, headers, value"
            found = sorted((await uow.execute(taken, {"after": self._after})).all(), key=lambda row: int(row.id))
        for row in found:
            data = codec.decode_parts(load_headers(row.headers), row.value).data
            if isinstance(data, ScoreUpdatedV1) and data.key() == SERIES:
                self.seen.append((time.monotonic(), data))

    def mistakes(self, first: int, last: int) -> int:
        """Publications whose answers are fewer than those of the one before, or more than have come."""
        ns = [first, *(data.n for _, data in self.seen)]
        return sum(not before <= now <= last for before, now in pairwise(ns))

    def longest_pause(self, begin: float, end: float) -> float:
        """The longest time without a publication."""
        times = [begin, *(at for at, _ in self.seen if begin < at < end), end]
        return max(later - at for at, later in pairwise(times))


async def live(database: Database, rate: int, stopping: asyncio.Event, dice: np.random.Generator) -> int:
    """So many answers a second, in blocks as small as a trickle makes them; how many there were."""
    came = 0
    while not stopping.is_set():
        await store(database, [answers(max(1, rate // 10), dice, 0, 0)])
        came += max(1, rate // 10)
        await asyncio.sleep(0.1)
    return came


async def filled(service: ScoringService, database: Database, total: int, dice: np.random.Generator) -> float:
    """Store and count; seconds of counting."""
    for first in range(0, total, A_BLOCK * AT_ONCE):
        places = range(first, min(total, first + A_BLOCK * AT_ONCE), A_BLOCK)
        # In the order of their times, each a day late at most.
        ages = [DAYS * (1 - at / total) for at in places]
        sizes = [min(A_BLOCK, total - at) for at in places]
        await store(database, [answers(n, dice, age + 1, age) for n, age in zip(sizes, ages, strict=True)])
    began = time.monotonic()
    while await service.waiting():
        while await service.project(WORKSPACE):
            pass
    return time.monotonic() - began


async def rebuilt(service: ScoringService, watcher: Watcher) -> float:
    """Want other rules, and wait until they count; seconds."""
    began = time.monotonic()
    await service.change_rules(WORKSPACE, AFTER)
    shown = 0.0
    while (standing := await service.standing(WORKSPACE)).coming:
        await watcher.look()
        if (share := standing.coming[1]) >= shown + 0.1:
            shown = share
            sys.stdout.write(f"  {share:4.0%} counted anew\n")
            sys.stdout.flush()
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def recounted(database: Database, total: int) -> bool:
    """Whether every roll-up of the new rules has all answers."""
    statement = """select s.department is not null as d, s.touchpoint is not null as t, sum(day.n) as n
        from day join series s on s.workspace = day.workspace and s.generation = day.generation and s.id = day.series
        where day.generation = (select generation from progress) group by 1, 2"""
    async with database.reader() as reader:
        rows = await reader.all(statement)
    return len(rows) == len(AFTER.roll_ups) and all(row.n == total for row in rows)


async def _idle(service: ScoringService) -> bool:
    return not await service.uncounted() and not await service.waiting()


async def restarted(database: Database) -> float:
    """Seconds until a fresh process has counted an answer that waits for it."""
    seconds = []
    for number in range(RESTARTS):
        await store(database, [answers(1, np.random.default_rng(1000 + number), 0, 0)])
        fresh = ScoringService(database, minimum_n=30, interval_seconds=1)
        began = time.monotonic()
        await fresh.project(WORKSPACE)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


async def asked(service: ScoringService, dice: random.Random) -> list[float]:
    """Milliseconds of questions for one series, sorted."""
    found = []
    for _ in range(QUERIES):
        origin = dice.choice(_ORIGINS)
        dimensions = {"department": str(origin.department), "touchpoint": str(origin.touchpoint)}
        wanted = ScoreFilter(metric="nps", windows=("90d",), dimensions=dimensions, by=("department", "touchpoint"))
        began = time.perf_counter()
        page = await service.page(WORKSPACE, wanted, None, 10)
        found.append((time.perf_counter() - began) * 1000)
        assert len(page.items) == 1
    return sorted(found)


async def bench(url: str, total: int, rate: int, seed: int) -> int:
    """Everything; the exit status."""
    dice = np.random.default_rng(seed)
    database = Database(url, "scoring", encode=codec.encode)
    service = ScoringService(database, minimum_n=30, interval_seconds=1)
    await service.change_rules(WORKSPACE, BEFORE)
    sys.stdout.write(f"storing and counting {total:,} answers of {DAYS} days …\n")
    counting = await filled(service, database, total, dice)
    watcher, stopping, wakeups = Watcher(database), asyncio.Event(), Wakeups(url, "scoring")
    await watcher.look()
    everything = ScoreFilter(metric="nps", windows=("90d",), by=())
    first = (await service.page(WORKSPACE, everything, None, 1)).items[0].score.n
    watcher.seen.clear()
    projector = Projector(service, Lease(database, "projector", "bench"), wakeups.on("block"))
    async with running(wakeups, projector):
        traffic = asyncio.create_task(live(database, rate, stopping, dice))
        begin = time.monotonic()
        while time.monotonic() - begin < 10:
            await watcher.look()
            await asyncio.sleep(0.05)
        quiet, middle = watcher.longest_pause(begin, time.monotonic()), time.monotonic()
        sys.stdout.write(f"other roll-ups, while {rate:,} answers a second come in …\n")
        rebuilding = await rebuilt(service, watcher)
        end = time.monotonic()
        while time.monotonic() - end < 5:
            await watcher.look()
            await asyncio.sleep(0.05)
        stopping.set()
        came = await traffic
        await eventually(partial(_idle, service), timeout=60)
        await watcher.look()
    wrong = watcher.mistakes(first, first + came)
    exact = await recounted(database, total + came)
    opening, times = await restarted(database), await asked(service, random.Random(seed))
    anew = sum(data.cause == "rebuild" for _, data in watcher.seen)
    await database.stop()
    lines = {
        "answers before, and that came meanwhile": f"{total:,}, {came:,}",
        "counted at first": f"{counting:.1f} s, {total / counting:,.0f}/s",
        "counted anew beside live traffic": f"{rebuilding:.1f} s, {total / rebuilding:,.0f}/s",
        "publications of the series over all answers": f"{len(watcher.seen)}, of them {anew} because of the rebuild",
        "that fell back, jumped or were too many": str(wrong),
        "longest pause between two, before and during": f"{quiet:.2f} s, {watcher.longest_pause(middle, end):.2f} s",
        "sums equal a recount": "yes" if exact else "NO",
        "a fresh process has counted its first answer after": f"{opening:.2f} s ({total + came:,} stored)",
        "one series asked for, p50, p99": f"{times[len(times) // 2]:.1f} ms, {times[int(len(times) * 0.99)]:.1f} ms",
    }
    sys.stdout.write("\n" + "".join(f"{name:<54} {value}\n" for name, value in lines.items()))
    return 0 if exact and not wrong and watcher.seen else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=5_000_000)
    parser.add_argument("--rate", type=int, default=200, help="answers a second that come in meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with running_server() as postgres:
        make_template(postgres)
        with fresh_database(postgres) as url:
            return asyncio.run(bench(url, chosen.answers, chosen.rate, chosen.seed))


if __name__ == "__main__":
    sys.exit(main())
