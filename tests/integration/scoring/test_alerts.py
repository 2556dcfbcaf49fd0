"""An alert is raised for a real change, once, with what did most of it, and ends when nothing is left of it."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from services.scoring import service as service_module
from shared.contracts.envelope import Event
from shared.contracts.score_alerted import ScoreAlertedV1
from shared.db.database import Database
from tests.integration.scoring.support import (
    HOUR,
    NOW,
    Clock,
    Made,
    answered,
    deliver,
    made_on,
    outbox,
    publish_all,
    rating,
)

GOOD, BAD = (10, 10, 9, 9, 9, 8, 8, 7, 5, 3), (10, 9, 8, 8, 7, 6, 6, 5, 3, 0)
A_DAY = 40


def days(first: int, last: int, web: tuple[int, ...], store: tuple[int, ...] = GOOD) -> Iterator[Event[Any]]:
    """Answers of the days that lie `first` … `last` − 1 days after NOW (which may be before it), in two departments."""
    dice = random.Random(first)
    for day in range(first, last):
        for n in range(A_DAY):
            department, values = ("web", web) if n % 2 else ("store", store)
            at = NOW + timedelta(days=day) - timedelta(hours=n % 24)
            yield answered(
                f"{day}-{n}", rating("nps", dice.choice(values)), at=at, received_at=at, department=department
            )


async def alerts(database: Database, *kinds: str) -> list[ScoreAlertedV1]:
    found = [event.data for event in await outbox(database) if isinstance(event.data, ScoreAlertedV1)]
    return [data for data in found if data.kind in (kinds or ("drop", "rise"))]


def told(found: list[ScoreAlertedV1]) -> list[tuple[str, str, str]]:
    return [(data.series.name(), data.kind, data.state) for data in found]


async def test_a_drop_is_raised_once_says_what_did_it_and_ends(made: Made, clock: Clock) -> None:
    service, database = made
    await deliver(service, database, list(days(-70, -6, GOOD)))
    await publish_all(service)
    assert await alerts(database) == []
    await deliver(service, database, list(days(-6, 1, BAD)))
    clock.by = HOUR
    await publish_all(service)
    raised = await alerts(database)
    # The store has not changed; the channel holds all answers, as the series without dimensions does.
    assert sorted(told(raised)) == [
        (f"nps|transactional|7d|{name}", "drop", "raised") for name in ("", "channel=email", "department=web")
    ]
    everything = next(data for data in raised if not data.series.dimensions)
    assert everything.value is not None
    assert everything.previous_value is not None
    assert everything.value < everything.previous_value - 15
    assert everything.p_value is not None
    assert everything.p_value < 0.002
    assert everything.n >= 7 * (A_DAY - 2)
    assert everything.interval is not None
    assert everything.interval.low < everything.value < everything.interval.high
    assert everything.contributors[0].dimensions == {"department": "web"}
    assert everything.contributors[0].points == pytest.approx(everything.value - everything.previous_value, abs=8)
    # Hour after hour it stays the same alert, for a new process too.
    for hours in range(2, 5):
        clock.by = hours * HOUR
        await publish_all(made_on(database, clock=clock) if hours == 3 else service)
    assert await alerts(database) == raised
    # Mended: two good weeks end it.
    await deliver(service, database, list(days(1, 15, GOOD)), count=False)
    clock.by = timedelta(days=14, hours=1)
    await publish_all(service)
    ended = (await alerts(database))[3:]
    assert sorted(told(ended)) == [(name, kind, "ended") for name, kind, _ in sorted(told(raised))]
    assert {data.alert_id for data in ended} == {data.alert_id for data in raised}
    ids = [event.id for event in await outbox(database)]
    assert len(ids) == len(set(ids))


async def test_a_rise_is_an_alert_too_and_noise_is_none(made: Made, clock: Clock) -> None:
    service, database = made
    await deliver(service, database, list(days(-70, -7, BAD, BAD)))
    await deliver(service, database, list(days(-7, 1, GOOD, BAD)))
    clock.by = HOUR
    await publish_all(service)
    assert set(told(await alerts(database))) >= {("nps|transactional|7d|department=web", "rise", "raised")}
    assert {data.kind for data in await alerts(database)} == {"rise"}
    assert "department=store" not in str(told(await alerts(database)))


async def test_who_catches_up_does_not_take_the_missing_for_silence(made: Made, clock: Clock, monkeypatch: Any) -> None:
    """An import, or a backlog: the last days come last."""
    monkeypatch.setattr(service_module, "PROJECT_ROWS", 100)
    monkeypatch.setattr(service_module, "MANY_ROWS", 100)
    service, database = made
    clock.by = timedelta(days=-10)
    await deliver(service, database, list(days(-80, -9, GOOD)))
    await publish_all(service)
    clock.by = timedelta()
    for first in range(-9, 1, 2):
        await deliver(service, database, list(days(first, first + 2, GOOD)), count=False)
    await publish_all(service)
    assert await alerts(database, "silence", "drop", "rise") == []


async def test_a_silent_day_is_raised_and_ends_with_the_next_loud_one(made: Made, clock: Clock) -> None:
    service, database = made
    midnight = NOW.replace(hour=0)
    clock.by = midnight - NOW
    await deliver(
        service, database, [e for e in days(-70, 0, GOOD) if e.data.occurred_at < midnight - timedelta(days=1)]
    )
    await publish_all(service)
    silent = await alerts(database, "silence")
    assert {data.series.name() for data in silent} >= {"nps|transactional|7d|"}
    data = next(data for data in silent if not data.series.dimensions)
    assert (data.state, data.n, data.days, data.value) == ("raised", 0, 1, None)
    assert data.previous_n == pytest.approx(A_DAY, abs=2)
    more = [answered(f"loud-{n}", rating("nps", 9), at=midnight + timedelta(minutes=n)) for n in range(A_DAY)]
    await deliver(service, database, more)
    clock.by += timedelta(days=1)
    await publish_all(service)
    ended = [data for data in await alerts(database, "silence") if data.state == "ended"]
    assert "nps|transactional|7d|" in {data.series.name() for data in ended}
