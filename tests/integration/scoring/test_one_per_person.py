"""Of several answers of a person to a survey the latest in a window counts, in every window that is asked of."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.scoring import service as service_module
from services.scoring.domain.rules import Rules
from services.scoring.domain.series import SeriesKey
from services.scoring.service import ScoreFilter, ScoringService
from shared.contracts.envelope import Event
from shared.contracts.score_updated import ScoreUpdatedV1
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

ANNE, BORA = UUID(int=1), UUID(int=2)
ONE_EACH = Rules(one_per_person=True)


@pytest.fixture
async def made(made: Made) -> Made:
    await made[0].change_rules("acme", ONE_EACH)
    return made


def rated(n: int, value: int, days: float, person: UUID | None = ANNE, **fields: Any) -> Event[Any]:
    return answered(n, rating("nps", value), at=NOW - timedelta(days=days), customer_id=person, **fields)


async def now_and_before(service: ScoringService, window: Any = "7d", **dimensions: str) -> tuple[Any, ...]:
    wanted = ScoreFilter(metric="nps", windows=(window,), dimensions=dimensions, by=tuple(dimensions))
    [item] = (await service.page("acme", wanted, None, 10)).items
    assert item.score.previous is not None
    return item.score.n, item.score.value, item.score.previous.n, item.score.previous.value


async def published(database: Database, name: str) -> list[ScoreUpdatedV1]:
    return [event.data for event in await outbox(database) if event.data.key() == name]


async def test_the_latest_counts_in_each_window(made: Made) -> None:
    service, database = made
    await deliver(service, database, [rated(1, 0, 10), rated(2, 3, 5), rated(3, 9, 2), rated(4, 5, 1, BORA)])
    # 7 days: the one of two days ago; in the window before the one of ten days ago stands alone.
    assert await now_and_before(service, "7d") == (2, 0.0, 1, -100.0)
    assert await now_and_before(service, "30d") == (2, 0.0, 0, None)


async def test_who_is_not_known_and_who_answers_another_survey_counts_by_itself(made: Made) -> None:
    service, database = made
    log = [rated(1, 9, 2, None), rated(2, 9, 1, None), rated(3, 9, 2), rated(4, 9, 1, survey_type=None, touchpoint="a")]
    await deliver(service, database, log)
    assert (await now_and_before(service))[0] == 4


async def test_an_answer_moves_the_series_of_the_one_before_it(made: Made) -> None:
    service, database = made
    await deliver(service, database, [rated(1, 9, 3, department="sales")])
    await publish_all(service)
    await deliver(service, database, [rated(2, 2, 1, department="support")])
    await publish_all(service)
    sales = await published(database, "nps|transactional|7d|department=sales")
    assert [data.n for data in sales] == [1, 0]
    # A correction of the later one takes it elsewhere in time: the earlier one counts again.
    await deliver(service, database, [rated(2, 2, 4, department="support", revision=1)])
    await publish_all(service)
    assert [data.n for data in await published(database, "nps|transactional|7d|department=sales")] == [1, 0, 1]
    assert (await now_and_before(service, department="support"))[0] == 0


async def test_a_removal_in_the_middle_joins_its_neighbours(made: Made) -> None:
    service, database = made
    await deliver(service, database, [rated(1, 0, 12), rated(2, 0, 8), rated(3, 9, 1)])
    assert await now_and_before(service) == (1, 100.0, 1, -100.0)
    await deliver(service, database, [answered(2, at=NOW, revision=1, removed=True)])
    assert await now_and_before(service) == (1, 100.0, 1, -100.0)
    await deliver(service, database, [answered(3, at=NOW, revision=1, removed=True)])
    assert await now_and_before(service) == (0, None, 1, -100.0)
    assert (await now_and_before(service, "30d"))[:2] == (1, -100.0)


async def test_when_the_hour_turns_the_earlier_one_comes_back_where_the_later_leaves(made: Made, clock: Clock) -> None:
    service, database = made
    # The later one is in the last hour of the window before: an hour on both are in it.
    week, almost = timedelta(days=7), timedelta(days=7) - HOUR
    log = [
        rated(1, 0, (week + HOUR).total_seconds() / 86_400, department="sales"),
        rated(2, 9, almost.total_seconds() / 86_400, department="support"),
    ]
    await deliver(service, database, log)
    await publish_all(service)
    assert (await now_and_before(service, department="sales"))[2:] == (1, -100.0)
    before = len(await published(database, "nps|transactional|7d|department=sales"))
    clock.by = HOUR
    await publish_all(service)
    assert (await now_and_before(service, department="sales"))[2:] == (0, None)
    [moved] = (await published(database, "nps|transactional|7d|department=sales"))[before:]
    assert moved.previous is not None
    assert (moved.cause, moved.previous.n) == ("tick", 0)


async def test_history_shows_each_window_with_its_latest(made: Made) -> None:
    service, database = made
    await deliver(service, database, [rated(1, 0, 3), rated(2, 9, 1)])
    key, today = SeriesKey("acme", "nps", "transactional", ()), NOW.date()
    points = (await service.history(key, today - timedelta(days=4), today, "7d")).points
    assert [(score.n, score.value) for _, score in points] == [
        (0, None),
        (1, -100.0),
        (1, -100.0),
        (1, 100.0),
        (1, 100.0),
    ]
    alone = (await service.history(key, today - timedelta(days=4), today, None)).points
    assert [score.n for _, score in alone] == [0, 1, 0, 1, 0]


async def test_a_crash_forgets_no_series_that_has_to_be_published(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    service, database = made
    await deliver(service, database, [rated(1, 9, 3, department="sales")])
    await publish_all(service)
    monkeypatch.setattr(service_module, "PUBLISH_SCORES", 0)  # counted, and not published before the process ends
    await deliver(service, database, [rated(2, 2, 1, department="support")], count=False)
    await service.project("acme")
    monkeypatch.undo()
    await publish_all(made_on(database))
    assert [data.n for data in await published(database, "nps|transactional|7d|department=sales")] == [1, 0]


async def test_switched_off_everything_counts_again_and_nothing_is_left(made: Made) -> None:
    service, database = made
    await deliver(service, database, [rated(1, 0, 5), rated(2, 9, 1)])
    assert (await now_and_before(service))[:2] == (1, 100.0)
    await service.change_rules("acme", Rules())
    await publish_all(service)
    assert (await now_and_before(service))[:2] == (2, 0.0)
    async with database.reader() as reader:
        assert await reader.scalar("select count(*) from given") == 0
        assert await reader.scalar("select count(*) from repeat") == 0
