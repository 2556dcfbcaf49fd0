"""Answers in, sums and due scores out, on a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from services.scoring.service import ScoreFilter, ScoringService
from shared.db.database import Database
from tests.integration.scoring.support import answered, deliver, outbox, publish_all, rating, scoring

Made = tuple[ScoringService, Database]


@pytest.fixture
async def made(database_url: str) -> AsyncIterator[Made]:
    async with scoring(database_url) as made:
        yield made


async def test_an_answer_is_counted_in_every_series_it_belongs_to(made: Made) -> None:
    service, database = made
    event = answered(
        1,
        rating("nps", 9),
        at=datetime.now(UTC),
        touchpoint="store",
        department="support",
        product="x",
        segment="vip",
        wave="w1",
    )
    await deliver(service, database, [event])
    page = await service.page("acme", ScoreFilter(days=(7,)), None, 100)
    found = {item.key.dimensions: (item.score.n, item.score.value) for item in page.items}
    assert found == dict.fromkeys(
        [
            (),
            (("touchpoint", "store"),),
            (("department", "support"),),
            (("product", "x"),),
            (("segment", "vip"),),
            (("channel", "email"),),
            (("wave", "w1"),),
            (("department", "support"), ("touchpoint", "store")),
        ],
        (1, 100.0),
    )
    await publish_all(service)
    published = await outbox(database)
    assert len(published) == 8 * 3
