"""Answers in, sums and due scores out, on a real database."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from services.scoring import ledger, models
from services.scoring.service import ScoreFilter, ScoringService
from shared.core.errors import BadRecord
from shared.db.migrate import drift
from tests.integration.scoring.support import (
    NOW,
    Made,
    answered,
    deliver,
    made_on,
    outbox,
    publish_all,
    rating,
)

NPS = ScoreFilter(metric="nps", survey_type="transactional", windows=("7d",))


async def scores(service: ScoringService, wanted: ScoreFilter = NPS, workspace: str = "acme") -> Mapping[str, Any]:
    """Dimensions as text → (n, value), without empty series."""
    page = await service.page(workspace, wanted, None, 200)
    assert page.following is None
    return {
        ",".join(f"{name}={value}" for name, value in item.key.dimensions): (item.score.n, item.score.value)
        for item in page.items
        if item.score.n
    }


async def test_the_models_are_what_is_migrated(database_url: str) -> None:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        assert await connection.run_sync(drift, "scoring", models.metadata) == []
    await engine.dispose()


async def test_an_answer_is_counted_in_every_series_it_belongs_to(made: Made) -> None:
    service, database = made
    fields = {"touchpoint": "store", "department": "support", "product": "x", "segment": "vip", "wave": "w1"}
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW, **fields)])
    series = ["", "touchpoint=store", "department=support", "product=x", "segment=vip", "channel=email", "wave=w1"]
    assert await scores(service) == dict.fromkeys([*series, "department=support,touchpoint=store"], (1, 100.0))
    await publish_all(service)
    assert len(await outbox(database)) == 8 * 5


async def test_relational_and_transactional_are_never_mixed(made: Made) -> None:
    service, database = made
    await deliver(
        service,
        database,
        [answered(1, rating("nps", 9), at=NOW), answered(2, rating("nps", 0), at=NOW, survey_type="relational")],
    )
    assert (await scores(service))[""] == (1, 100.0)
    relational = ScoreFilter(metric="nps", survey_type="relational", windows=("7d",))
    assert (await scores(service, relational))[""] == (1, -100.0)


async def test_a_correction_moves_an_answer_to_another_department_and_time(made: Made) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW, department="support")])
    moved = answered(
        1, rating("nps", 3), rating("ces", 5.5), at=NOW - timedelta(days=10), department="sales", revision=1
    )
    await deliver(service, database, [moved])
    assert await scores(service) == {}
    month = await scores(service, ScoreFilter(metric="nps", windows=("30d",)))
    assert month == dict.fromkeys(["", "department=sales", "channel=email"], (1, -100.0))
    assert (await scores(service, ScoreFilter(metric="ces", windows=("30d",))))[""] == (1, 5.5)


async def test_an_older_revision_changes_nothing(made: Made) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW, revision=5)])
    await deliver(service, database, [answered(1, rating("nps", 0), at=NOW, revision=4)])
    assert (await scores(service))[""] == (1, 100.0)


@pytest.mark.parametrize("together", [True, False])
async def test_a_removal_that_comes_first_is_remembered(made: Made, together: bool) -> None:
    service, database = made
    removal = answered(1, at=NOW, revision=3, removed=True)
    original = answered(1, rating("nps", 9), at=NOW)
    for batch in [[removal, original]] if together else [[removal], [original]]:
        await deliver(service, database, batch)
    assert await scores(service) == {}
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW, revision=4)])
    assert (await scores(service))[""] == (1, 100.0)  # restored by a later revision


async def test_losing_the_rating_takes_the_answer_back(made: Made) -> None:
    service, database = made
    await deliver(service, database, [answered(1, rating("nps", 9), at=NOW)])
    await deliver(service, database, [answered(1, at=NOW, revision=1)])
    assert await scores(service) == {}


async def test_messages_without_ratings_leave_no_rows(made: Made) -> None:
    service, database = made
    await deliver(service, database, [answered(n, at=NOW, survey_type=None) for n in range(20)])
    async with database.reader() as reader:
        assert await reader.scalar("select count(*) from block") == 0


async def test_a_correction_that_changes_no_number_publishes_nothing(made: Made) -> None:
    service, database = made
    moment = NOW
    await deliver(service, database, [answered(1, rating("nps", 9), at=moment)])
    await publish_all(service)
    before = len(await outbox(database))
    await deliver(service, database, [answered(1, rating("nps", 9), at=moment, revision=1)])
    await publish_all(service)
    assert len(await outbox(database)) == before


async def test_two_transactions_with_the_same_feedback_count_it_once(made: Made) -> None:
    """A correction under another customer id lies in another partition: both may be handled at the same moment."""
    service, database = made
    versions = [answered(1, rating("nps", value), at=NOW, revision=r) for r, value in enumerate([0, 5, 8, 9, 10, 7])]
    for _ in range(5):
        await asyncio.gather(*(deliver(service, database, [event]) for event in versions))
        assert (await scores(service))[""] == (1, 0.0)
        versions = [answered(1, rating("nps", 7), at=NOW, revision=e.data.revision + 6) for e in versions]


async def test_batches_side_by_side_lose_no_update(made: Made) -> None:
    service, database = made
    batches = [[answered(f"{b}-{n}", rating("nps", n % 11), at=NOW) for n in range(40)] for b in range(8)]
    await asyncio.gather(*(deliver(service, database, batch) for batch in batches))
    assert (await scores(service))[""][0] == 320


async def test_a_batch_with_poison_changes_nothing(made: Made) -> None:
    service, database = made
    poison = answered(2, rating("csat", 3, formula="nps"), at=NOW)
    with pytest.raises(BadRecord, match="needs the scale 0–10"):
        await deliver(service, database, [answered(1, rating("nps", 9), at=NOW), poison])
    assert await scores(service) == {}


async def test_fractional_values_are_taken_back_exactly(made: Made) -> None:
    service, database = made
    events = [answered(n, rating("rating", 1 + n / 7 % 4), at=NOW) for n in range(50)]
    await deliver(service, database, events)
    await deliver(service, database, [answered(n, at=NOW, revision=1, removed=True) for n in range(50)])
    async with database.reader() as reader:
        left = await reader.first("select count(*), sum(abs(total)), sum(squares), sum(n) from day")
    assert left is not None
    assert left.count > 0
    assert tuple(left)[1:] == (0, 0, 0)


async def test_answers_on_another_scale_stand_apart(made: Made) -> None:
    service, database = made
    stars = [answered(n, rating("rating", 4), at=NOW) for n in range(3)]
    tens = [answered(n + 10, rating("rating", 9, scale_max=10), at=NOW) for n in range(2)]
    await deliver(service, database, stars + tens)
    assert (await scores(service, ScoreFilter(metric="rating", windows=("7d",))))[""] == (3, 4.0)


async def test_small_blocks_become_one_and_answers_in_it_can_be_corrected(made: Made) -> None:
    service, database = made
    for n in range(140):
        fields = {"department": f"d{n % 3}", "at": NOW - timedelta(hours=n % 7)}
        await deliver(service, database, [answered(n, rating("nps", n % 11), rating("ces", 3.5), **fields)])
        if n % 10 == 9:
            await deliver(service, database, [answered(n - 5, rating("nps", 10), revision=1, **fields)])
    async with database.reader() as reader:
        assert await reader.scalar("select count(*) from block") < 70
    before = await scores(service)
    heir = made_on(database)
    assert await scores(heir) == before
    await deliver(heir, database, [answered(n, at=NOW, revision=2, removed=True) for n in range(140)])
    assert await scores(heir) == {}


async def test_a_batch_of_more_days_than_are_remembered_adds_to_all_of_them(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import in no order: the day rows that it touches do not fit into memory together."""
    monkeypatch.setattr(ledger, "_MOST_DAYS", 3)
    service, database = made
    for batch in range(3):
        days = range(10)
        await deliver(
            service, database, [answered(f"{batch}-{n}", rating("nps", 9), at=NOW - timedelta(days=n)) for n in days]
        )
    wanted = ScoreFilter(metric="nps", windows=("30d",), by=())
    assert [item.score.n for item in (await service.page("acme", wanted, None, 10)).items] == [30]


async def test_memory_per_series_does_not_grow_with_traffic(made: Made) -> None:
    service, database = made
    for first in range(0, 600, 200):
        await deliver(service, database, [answered(n, rating("nps", 9), at=NOW) for n in range(first, first + 200)])
    async with database.reader() as reader:
        # two series, a day each
        assert await reader.scalar("select count(*) from day") == 2
