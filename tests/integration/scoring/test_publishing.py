"""What goes out, when, and with which id; and the turn of the hour."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.scoring import handlers
from services.scoring import service as service_module
from services.scoring.service import ScoreFilter, ScoringService
from shared.contracts.envelope import Event
from shared.contracts.score_updated import ScoreUpdatedV1
from shared.db.database import Database
from shared.db.wakeup import Wakeups
from shared.runtime.timers import TimerLoop
from tests.integration.scoring.support import (
    HOUR,
    NOW,
    Clock,
    answered,
    brute_force,
    deliver,
    outbox,
    publish_all,
    rating,
    scoring,
)
from tests.support.harness import running
from tests.support.poll import eventually


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def made(database_url: str, clock: Clock) -> AsyncIterator[tuple[ScoringService, Database]]:
    async with scoring(database_url, clock=clock) as made:
        yield made


async def tick(service: ScoringService, database: Database, payload: dict[str, Any] | None = None) -> None:
    async with database.unit_of_work() as uow:
        await service.tick("acme", payload or {}, uow)


async def timer(database: Database) -> Any:
    async with database.reader() as reader:
        return await reader.first("select * from timer where kind = 'tick' and key = 'acme'")


def all_of(events: list[Event[Any]], window: str) -> list[ScoreUpdatedV1]:
    """Publications of the series without dimensions."""
    return [e.data for e in events if e.data.series.window == window and not e.data.series.dimensions]


async def test_a_score_says_what_caused_it(made: tuple[ScoringService, Database]) -> None:
    service, database = made
    event = answered(1, rating("nps", 9), at=NOW, touchpoint="store")
    await deliver(service, database, [event])
    await publish_all(service)
    published = await outbox(database)
    assert {e.correlation_id for e in published} == {event.data.feedback_id}
    assert {e.causation_id for e in published} == {event.id}
    assert {e.data.cause for e in published} == {"feedback"}
    assert len({e.id for e in published}) == len(published)
    [week] = all_of(published, "7d")
    assert (week.n, week.value, week.promoters, week.minimum_n, week.reportable) == (1, 100.0, 1, 30, False)
    assert week.as_of == NOW.replace(minute=0, second=0, microsecond=0) + HOUR


async def test_a_series_is_published_once_in_its_interval_with_its_last_value(database_url: str) -> None:
    async with scoring(database_url, interval_seconds=0.5) as (service, database):
        for n in range(10):
            await deliver(service, database, [answered(n, rating("nps", 9), at=NOW)])
            await service.publish_due()
        assert [data.n for data in all_of(await outbox(database), "7d")] == [1]
        assert await service.seconds_to_next_due() is not None
        await eventually(service.publish_due)
        await publish_all(service)
        assert [data.n for data in all_of(await outbox(database), "7d")] == [1, 10]
        assert await service.seconds_to_next_due() is None


async def test_publishers_side_by_side_publish_each_score_once(made: tuple[ScoringService, Database]) -> None:
    service, database = made
    events = [answered(n, rating("nps", 9), at=NOW, product=f"p{n}") for n in range(80)]
    await deliver(service, database, events)
    while sum(await asyncio.gather(*(service.publish_due() for _ in range(4)))):
        pass
    published = [event.data.key() for event in await outbox(database)]
    assert len(published) == len(set(published)) == (80 + 2) * 3


async def test_what_fails_while_publishing_stays_due(
    made: tuple[ScoringService, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW)])

    async def crash(*_: object) -> None:
        raise RuntimeError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(service_module.publication, "settle", crash)
        with pytest.raises(RuntimeError):
            await service.publish_due()
    assert await outbox(database) == []
    assert await service.publish_due() == 6
    assert len(await outbox(database)) == 6


async def test_the_first_answer_of_a_workspace_starts_its_clock(made: tuple[ScoringService, Database]) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW)])
    row = await timer(database)
    assert row.workspace == "acme"
    assert row.due_at == NOW.replace(minute=0, second=0, microsecond=0) + HOUR


async def test_an_answer_leaves_its_window_when_the_hour_turns(
    made: tuple[ScoringService, Database], clock: Clock
) -> None:
    service, database = made
    # The oldest hour of the 7-day window, and one that stays.
    log = [
        answered(1, rating("nps", 9), at=NOW - timedelta(days=7) + HOUR),
        answered(2, rating("nps", 0), at=NOW, channel="web"),
    ]
    await deliver(service, database, log)
    await publish_all(service)
    before = len(await outbox(database))
    clock.by = HOUR
    await tick(service, database)
    await publish_all(service)
    moved = (await outbox(database))[before:]
    assert {e.data.cause for e in moved} == {"tick"}
    assert {(e.data.series.window, tuple(e.data.series.dimensions.items())) for e in moved} == {
        ("7d", ()),
        ("7d", (("channel", "email"),)),
    }
    [week] = all_of(moved, "7d")
    assert week.previous is not None
    assert (week.n, week.value, week.previous.n, week.previous.value) == (1, -100.0, 1, 100.0)
    # It is due again at the next turn, and a second tick in the same hour finds nothing.
    await tick(service, database)
    assert await service.publish_due() == 0
    assert (await timer(database)).due_at == week.as_of


async def test_after_a_downtime_everything_that_left_is_published_once(
    made: tuple[ScoringService, Database], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "TICK_SERIES", 3)  # many series: the tick goes on over several timers
    service, database = made
    log = [answered(n, rating("nps", n % 11), at=NOW - timedelta(days=n * 2), product=f"p{n % 5}") for n in range(100)]
    await deliver(service, database, log)
    await publish_all(service)
    known = {e.data.key(): e.data for e in await outbox(database)}
    before = len(await outbox(database))
    clock.by = timedelta(days=9, hours=5)
    for _ in range(10):
        row = await timer(database)
        await tick(service, database, row.payload)
    assert (await timer(database)).payload == {}
    await publish_all(service)
    moved = (await outbox(database))[before:]
    assert len({e.data.key() for e in moved}) == len(moved) > 10
    known |= {e.data.key(): e.data for e in moved}
    expected = brute_force(log, NOW + clock.by, 7)
    for data in known.values():
        if data.series.window == "7d":
            name = (data.series.metric, data.series.survey_type, tuple(sorted(data.series.dimensions.items())))
            assert (data.n, data.value) == (expected[name].n, expected[name].value), name


async def test_an_answer_from_an_hour_to_come_counts_when_that_hour_begins(
    made: tuple[ScoringService, Database], clock: Clock
) -> None:
    """The clock that received it was ahead of the database's."""
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW + HOUR)])
    await publish_all(service)
    wanted = ScoreFilter(metric="nps", days=(7,), by=())
    assert [item.score.n for item in (await service.page("acme", wanted, None, 10)).items] == [0]
    clock.by = HOUR
    assert [item.score.n for item in (await service.page("acme", wanted, None, 10)).items] == [1]
    await tick(service, database)
    await publish_all(service)
    assert [data.n for data in all_of(await outbox(database), "7d")] == [0, 1]


async def test_the_timer_loop_fires_the_tick_once_for_two_replicas(
    made: tuple[ScoringService, Database], database_url: str, clock: Clock
) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW - timedelta(days=7) + HOUR)])
    await publish_all(service)
    before = len(await outbox(database))
    clock.by = HOUR
    async with database.unit_of_work() as uow:
        await uow.schedule("tick", "acme", workspace="acme", payload={})  # overdue, as after a downtime
    loops = []
    for _ in range(2):
        wakeups = Wakeups(database_url, "scoring")
        loops += [TimerLoop(database, wakeups.on("timer"), handlers.timers(service)), wakeups]
    async with running(*loops):

        async def rescheduled() -> bool:
            row = await timer(database)
            return row is not None and row.due_at == NOW.replace(minute=0) + 2 * HOUR

        await eventually(rescheduled)
    await publish_all(service)
    keys = [e.data.key() for e in (await outbox(database))[before:]]
    assert sorted(keys) == ["nps|transactional|7d|", "nps|transactional|7d|channel=email"]
