"""Dimensions are open lists: beyond a cap further values share one series, and nothing is counted twice or lost."""

import random
from collections.abc import Mapping

import pytest

from services.scoring import ledger
from services.scoring import service as service_module
from services.scoring.domain.rules import Rules
from services.scoring.service import ScoreFilter, ScoringService
from shared.telemetry.metrics import OVER_CAP
from tests.integration.scoring.support import NOW, Made, answered, deliver, made_on, publish_all, rating


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_VALUES", 3)


async def by(service: ScoringService, *names: str) -> Mapping[str, int]:
    page = await service.page("acme", ScoreFilter(metric="nps", windows=("7d",), by=names), None, 200)
    return {",".join(dict(item.key.dimensions).values()): item.score.n for item in page.items}


def of_product(n: int, product: str, revision: int = 0, value: int = 9):  # type: ignore[no-untyped-def]
    return answered(n, rating("nps", value), at=NOW, product=product, revision=revision)


async def test_further_values_share_a_series(made: Made) -> None:
    service, database = made
    before = OVER_CAP._value.get()
    await deliver(service, database, [of_product(n, f"p{n}") for n in range(6)])
    assert await by(service, "product") == {"p0": 1, "p1": 1, "p2": 1, "other": 3}
    assert await by(service) == {"": 6}
    assert OVER_CAP._value.get() == before + 3
    # A known value goes on counting as itself, in a fresh process too.
    await deliver(made_on(database), database, [of_product(6, "p2"), of_product(7, "p9")])
    assert await by(service, "product") == {"p0": 1, "p1": 1, "p2": 2, "other": 4}


async def test_a_correction_meets_the_series_it_was_counted_in(made: Made) -> None:
    service, database = made
    await deliver(service, database, [of_product(n, f"p{n}") for n in range(5)])
    fresh = made_on(database)
    await deliver(fresh, database, [of_product(4, "p0", revision=1), of_product(0, "p4", revision=1)])
    assert await by(fresh, "product") == {"p0": 1, "p1": 1, "p2": 1, "other": 2}
    await deliver(fresh, database, [answered(n, at=NOW, revision=2, removed=True) for n in range(5)])
    assert await by(fresh, "product") == {"p0": 0, "p1": 0, "p2": 0, "other": 0}


async def test_whatever_comes_in_any_order_the_parts_are_the_whole(made: Made) -> None:
    service, database = made
    dice = random.Random(7)
    for revision in range(8):
        batch = [of_product(dice.randrange(40), f"p{dice.randrange(12)}", revision) for _ in range(15)]
        await deliver(service, database, batch)
        if revision == 3:
            await service.change_rules("acme", Rules(time_zone="Asia/Tehran"))  # counted anew beside what comes
        if revision % 3 == 0:
            service = made_on(database)
        if revision > 4:
            await publish_all(service)
    await publish_all(service)
    assert sum((await by(service, "product")).values()) == (await by(service))[""]
    assert len(await by(service, "product")) == 4


async def test_what_is_remembered_of_values_is_bounded(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "MOST_ORIGINS", 4)
    service, database = made
    for first in range(0, 12, 3):
        await deliver(service, database, [of_product(n, f"p{n}") for n in range(first, first + 3)])
        await publish_all(service)
        assert all(len(one.tables.origins.met) <= 4 + 3 for one in service._ledgers.values())
    assert await by(service, "product") == {"p0": 1, "p1": 1, "p2": 1, "other": 9}
