"""Targets: set and taken back over HTTP, shown in every score, lost with an alert."""

from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from services.scoring.domain.series import SeriesKey
from services.scoring.goals import Goals
from services.scoring.repository import reading
from services.scoring.repository.targets import Target
from services.scoring.service import ScoringService
from shared.bus import Bus
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.contracts.score_updated import ScoreUpdatedV1
from shared.db.database import Database
from tests.integration.scoring.serving import key, now, wait_for_n
from tests.integration.scoring.support import (
    HOUR,
    NOW,
    Clock,
    answered,
    deliver,
    made_on,
    outbox,
    publish_all,
    rating,
    scoring,
)
from tests.support.harness import send
from tests.support.poll import eventually

TARGET = {"metric": "nps", "survey_type": "transactional", "window": "7d", "value": 40}
SUPPORT = SeriesKey("acme", "nps", "transactional", (("department", "support"),))


def due(days: int) -> str:
    return (now().date() + timedelta(days=days)).isoformat()


async def test_a_target_that_is_held_back_survives_a_crash(database_url: str) -> None:
    """Its series was published a moment ago, so the target has to wait; then the process ends."""
    async with scoring(database_url, interval_seconds=3600) as (service, database):
        await deliver(service, database, [answered(1, rating("nps", 9), at=NOW, department="support")])
        await Goals(database, minimum_n=1).put(Target(SUPPORT, "7d", NOW.date() + timedelta(days=9), 40))
        await service.project("acme")
        shown = SUPPORT.in_window("7d").name()
        assert [e.data.target for e in await outbox(database) if e.data.series.name() == shown] == [None]
        await publish_all(made_on(database))
        assert [e.data.target for e in await outbox(database) if e.data.series.name() == shown] == [None, 40]


async def test_many_targets_are_read_together(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    sums = reading.sums

    async def counting(*given: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return await sums(*given, **more)

    monkeypatch.setattr(reading, "sums", counting)
    async with scoring(database_url) as (service, database):
        log = [answered(n, rating("nps", n % 11), at=NOW, department=f"d{n % 30}") for n in range(120)]
        await deliver(service, database, log)
        goals, asked = Goals(database, minimum_n=1), 0
        for n in range(30):
            place = SeriesKey("acme", "nps", "transactional", (("department", f"d{n}"),))
            for later in (30, 120):
                await goals.put(Target(place, "30d", NOW.date() + timedelta(days=later), n))
        found = await goals.all_of("acme")
    assert asked == 2
    assert {goal.score.n for goal in found} == {4}
    assert len({goal.target for goal in found}) == 60
    assert {goal.distance for goal in found if goal.target.value == 0} == {
        goal.score.value for goal in found if goal.target.value == 0
    }


async def test_a_target_is_set_seen_and_taken_back(client: httpx.AsyncClient, bus: Bus, database_url: str) -> None:
    values = [10] * 20 + [8] * 12 + [3] * 8
    await send(bus, [answered(n, rating("nps", v), at=now(), department="support") for n, v in enumerate(values)])
    await wait_for_n(client, 40, metric="nps")
    body = {**TARGET, "dimensions": {"department": "support"}, "due": due(60)}
    agent = await key(database_url, "acme", "agent")
    assert (await client.put("/v1/scores/targets", json=body, headers=agent)).status_code == 403
    assert (await client.put("/v1/scores/targets", json=body)).status_code == 204
    assert (await client.put("/v1/scores/targets", json={**body, "due": due(400), "value": 60})).status_code == 204
    near, far = (await client.get("/v1/scores/targets", headers=agent)).json()["items"]
    assert (near["score"], near["n"], near["distance"], near["value"]) == (30, 40, -10, 40)
    # In 60 days none of today's answers is in the window; the present volume is 40 in 7 days.
    reach = near["reach"]
    assert (reach["expected_n"], reach["detractors_to_passive"], reach["detractors_to_promoter"]) == (40, 5, 3)
    assert 0.1 < reach["odds"] < 0.5
    assert far["reach"]["odds"] < reach["odds"]
    assert far["reach"]["detractors_to_passive"] is None

    async def published(target: float | None) -> bool:
        shown = SUPPORT.in_window("7d").name()
        found = [e.data for e in await outbox_of(bus) if e.data.series.name() == shown]
        return (found[-1].target, found[-1].distance) == (target, None if target is None else 30 - target)

    await eventually(lambda: published(40))
    assert (await client.post("/v1/scores/targets/remove", json=body)).status_code == 204
    assert (await client.post("/v1/scores/targets/remove", json=body)).status_code == 404
    await eventually(lambda: published(60))
    assert len((await client.get("/v1/scores/targets")).json()["items"]) == 1
    other = await key(database_url, "lale", "manager")
    assert (await client.get("/v1/scores/targets", headers=other)).json() == {"items": []}


async def outbox_of(bus: Bus) -> list[Any]:
    from shared.bus import TopicPartition, codec

    ends = await bus.offsets("score.updated.v1")
    records = [
        record
        for partition, (first, end) in ends.items()
        if end > first
        for record in await bus.read(TopicPartition("score.updated.v1", partition), first, 1000)
    ]
    return [event for event in map(codec.decode, records) if isinstance(event.data, ScoreUpdatedV1)]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"due": "2020-01-01"}, "due"),
        ({"due": "soon"}, "due"),
        ({"value": 101}, "value"),
        ({"metric": "csat", "value": -1}, "value"),
        ({"dimensions": {"region": "eu"}}, "dimensions"),
        ({"dimensions": {"segment": "a", "product": "b"}}, "dimensions"),
        ({"window": "14d"}, "window"),
        ({"target": 3}, "target"),
    ],
)
async def test_targets_that_make_no_sense_are_refused(
    quiet: tuple[httpx.AsyncClient, str], change: dict[str, Any], place: str
) -> None:
    answer = await quiet[0].put("/v1/scores/targets", json={**TARGET, "due": due(9), **change})
    assert answer.status_code == 422
    [fault] = answer.json()["faults"]
    assert fault["path"].removeprefix("body.").startswith(place)


async def test_a_target_that_was_met_and_is_lost_for_sure_is_an_alert(database_url: str) -> None:
    clock = Clock()
    async with scoring(database_url, clock=clock) as (service, database):
        good = [answered(n, rating("nps", 10 if n % 4 else 2), at=NOW, department="support") for n in range(100)]
        await deliver(service, database, good)
        await put(database, clock, 40, NOW.date() + timedelta(days=30))
        clock.by = HOUR
        await publish_all(service)  # 50: met
        assert await lost(database) == []
        bad = [answered(100 + n, rating("nps", 2), at=NOW, department="support") for n in range(15)]
        await deliver(service, database, bad)
        clock.by = 2 * HOUR
        await publish_all(service)  # 30.4 ± 15: below, not for sure
        assert await lost(database) == []
        more = [answered(200 + n, rating("nps", 2), at=NOW, department="support") for n in range(30)]
        await deliver(service, database, more)
        clock.by = 3 * HOUR
        await publish_all(service)
        await assert_lost_once(service, database, clock)
        await put(database, clock, -20, NOW.date() + timedelta(days=30))
        clock.by = 6 * HOUR
        await publish_all(service)
        assert [data.state for data in await lost(database)] == ["raised", "ended"]


async def assert_lost_once(service: ScoringService, database: Database, clock: Clock) -> None:
    [data] = await lost(database)
    assert (data.series.name(), data.target, data.state) == ("nps|transactional|7d|department=support", 40, "raised")
    assert data.interval is not None
    assert data.interval.high < 40
    for hours in (4, 5):
        clock.by = hours * HOUR
        await publish_all(service)
    assert len(await lost(database)) == 1


async def put(database: Database, clock: Clock, value: float, day: date) -> None:
    await Goals(database, minimum_n=30, now=clock).put(Target(SUPPORT, "7d", day, value))


async def lost(database: Database) -> list[ScoreAlertedV1]:
    found = [event.data for event in await outbox(database) if isinstance(event.data, ScoreAlertedV1)]
    return [data for data in found if data.kind == "target_lost"]


async def test_targets_of_two_windows_of_a_series_are_two_alerts(database_url: str) -> None:
    clock = Clock()
    async with scoring(database_url, clock=clock) as (service, database):
        good = [answered(n, rating("nps", 10), at=NOW, department="support") for n in range(50)]
        await deliver(service, database, good)
        goals = Goals(database, minimum_n=30, now=clock)
        day = NOW.date() + timedelta(days=30)
        await goals.put(Target(SUPPORT, "7d", day, 40))
        await goals.put(Target(SUPPORT, "30d", day, 40))
        clock.by = HOUR
        await publish_all(service)
        bad = [answered(100 + n, rating("nps", 2), at=NOW, department="support") for n in range(60)]
        await deliver(service, database, bad)
        clock.by = 2 * HOUR
        await publish_all(service)
        raised = await lost(database)
        assert sorted(data.series.window for data in raised) == ["30d", "7d"]
        assert len({data.alert_id for data in raised}) == 2
        assert len({event.id for event in await outbox(database)}) == len(await outbox(database))
        # The one is not wanted any more, the other stays, also while its window holds no answer at all.
        await goals.remove(Target(SUPPORT, "30d", day, 40))
        clock.by = timedelta(days=8)
        await publish_all(service)
        assert [(data.series.window, data.state) for data in await lost(database)][2:] == [("30d", "ended")]
