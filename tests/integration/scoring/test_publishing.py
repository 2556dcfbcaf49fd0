"""What goes out, when, and with which id; and the turn of the hour."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.scoring import service as service_module
from services.scoring.projector import Projector
from services.scoring.service import ScoreFilter
from shared.contracts.envelope import Event
from shared.contracts.score_updated import ScoreUpdatedV1
from shared.db.wakeup import Wakeups
from shared.runtime.component import Component
from shared.runtime.lease import Lease
from tests.integration.scoring.support import (
    HOUR,
    NOW,
    Clock,
    Made,
    answered,
    brute_force,
    count_all,
    deliver,
    made_on,
    outbox,
    publish_all,
    rating,
    scoring,
)
from tests.support.harness import running
from tests.support.poll import eventually


def all_of(events: list[Event[Any]], window: str) -> list[ScoreUpdatedV1]:
    """Publications of the series without dimensions."""
    return [e.data for e in events if e.data.series.window == window and not e.data.series.dimensions]


async def test_a_score_says_what_caused_it(made: Made) -> None:
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
    async with scoring(database_url, interval_seconds=3) as (service, database):
        for n in range(10):
            await deliver(service, database, [answered(n, rating("nps", 9), at=NOW)])
        assert [data.n for data in all_of(await outbox(database), "7d")] == [1]
        assert service.next_due() is not None

        async def second() -> bool:
            await count_all(service)
            return service.next_due() is None

        await eventually(second)
        assert [data.n for data in all_of(await outbox(database), "7d")] == [1, 10]


async def test_projectors_side_by_side_publish_each_score_once(made: Made) -> None:
    service, database = made
    others = [made_on(database) for _ in range(3)]
    for part in range(4):
        events = [answered(f"{part}-{n}", rating("nps", 9), at=NOW, product=f"p{part}-{n}") for n in range(20)]
        await deliver(service, database, events, count=False)
        await asyncio.gather(*(count_all(one) for one in (service, *others)))
    for one in (service, *others):
        await publish_all(one)
    published = [(event.data.key(), event.data.n) for event in await outbox(database)]
    assert len(published) == len(set(published))
    assert len({key for key, _ in published}) == (80 + 2) * 5
    assert [data.n for data in all_of(await outbox(database), "7d")][-1] == 80


async def test_what_fails_while_publishing_stays_due(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW)], count=False)

    async def crash(*_: object) -> None:
        raise RuntimeError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(service_module.publication, "settle", crash)
        with pytest.raises(RuntimeError):
            await count_all(service)
    assert await outbox(database) == []
    await publish_all(service)
    assert len(await outbox(database)) == 2 * 5


async def test_what_is_held_back_outlives_the_process(database_url: str) -> None:
    """A series that may not be published yet is due again in the next process, with its cause."""
    async with scoring(database_url, interval_seconds=1) as (service, database):
        await deliver(service, database, [answered(1, rating("nps", 9), at=NOW)])
        second = answered(2, rating("nps", 0), at=NOW)
        await deliver(service, database, [second])
        assert [data.n for data in all_of(await outbox(database), "7d")] == [1]
        heir = made_on(database, interval_seconds=1)

        async def both() -> bool:
            await count_all(heir)
            return [data.n for data in all_of(await outbox(database), "7d")] == [1, 2]

        async def none_waits() -> bool:  # a busy machine counts some of the windows in a later turn
            await count_all(heir)
            return await heir.waiting() == set()

        await eventually(both)
        await eventually(none_waits)
        [*_, last] = await outbox(database)
        assert (last.causation_id, last.data.cause) == (second.id, "feedback")


async def test_a_correction_held_back_by_a_crash_is_published_where_the_answer_was(database_url: str) -> None:
    """The old version's series have to be looked at, too."""
    async with scoring(database_url, interval_seconds=1) as (service, database):
        await deliver(service, database, [answered(1, rating("nps", 9), at=NOW, department="support")])
        moved = answered(1, rating("nps", 9), at=NOW, department="sales", revision=1)
        await deliver(service, database, [moved])
        heir = made_on(database, interval_seconds=1)

        async def last() -> bool:
            await count_all(heir)
            published = {e.data.key(): e.data.n for e in await outbox(database) if e.data.series.window == "7d"}
            names = [f"nps|transactional|7d|department={name}" for name in ("support", "sales")]
            return [published.get(name) for name in names] == [0, 1]

        await eventually(last)


async def test_an_answer_leaves_its_window_when_the_hour_turns(made: Made, clock: Clock) -> None:
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
    assert await service.waiting() == set()  # until the next turn


async def test_after_a_downtime_everything_that_left_is_published_once(made: Made, clock: Clock) -> None:
    service, database = made
    log = [answered(n, rating("nps", n % 11), at=NOW - timedelta(days=n * 2), product=f"p{n % 5}") for n in range(100)]
    await deliver(service, database, log)
    await publish_all(service)
    known = {e.data.key(): e.data for e in await outbox(database)}
    before = len(await outbox(database))
    clock.by = timedelta(days=9, hours=5)
    await publish_all(made_on(database, clock=clock))
    moved = (await outbox(database))[before:]
    assert len({e.data.key() for e in moved}) == len(moved) > 10
    known |= {e.data.key(): e.data for e in moved}
    expected = brute_force(log, NOW + clock.by, "7d")
    for data in known.values():
        if data.series.window == "7d":
            name = (data.series.metric, data.series.survey_type, tuple(sorted(data.series.dimensions.items())))
            assert (data.n, data.value) == (expected[name].n, expected[name].value), name


async def test_an_answer_from_an_hour_to_come_counts_when_that_hour_begins(made: Made, clock: Clock) -> None:
    """The clock that received it was ahead of the database's."""
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW + HOUR)])
    await publish_all(service)
    wanted = ScoreFilter(metric="nps", windows=("7d",), by=())
    assert [item.score.n for item in (await service.page("acme", wanted, None, 10)).items] == [0]
    clock.by = HOUR
    assert [item.score.n for item in (await service.page("acme", wanted, None, 10)).items] == [1]
    await publish_all(service)
    assert [data.n for data in all_of(await outbox(database), "7d")] == [0, 1]


async def test_the_hour_turns_once_for_two_replicas(made: Made, clock: Clock, database_url: str) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW - timedelta(days=7) + HOUR)])
    await publish_all(service)
    before = len(await outbox(database))
    clock.by = HOUR
    replicas: list[Component] = []
    for number in range(2):
        wakeups = Wakeups(database_url, "scoring")
        lease = Lease(database, "projector", f"replica {number}")
        replicas += [Projector(made_on(database, clock=clock), lease, wakeups.on("block")), wakeups]

    async def keys() -> list[str]:
        return sorted(e.data.key() for e in (await outbox(database))[before:])

    async with running(*replicas):
        await eventually(keys)
    await publish_all(service)
    assert await keys() == ["nps|transactional|7d|", "nps|transactional|7d|channel=email"]
