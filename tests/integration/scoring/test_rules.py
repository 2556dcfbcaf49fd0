"""Other rules: answers are counted anew in the background, and the new sums take the place of the old in one step."""

from datetime import timedelta
from typing import Any

import pytest

from services.scoring import projection
from services.scoring.domain.rules import Rules
from services.scoring.intake import Intake
from services.scoring.service import ScoreFilter, ScoringService
from shared.core.errors import InvalidInput
from tests.integration.scoring.support import (
    NOW,
    Made,
    answered,
    brute_force,
    count_all,
    deliver,
    made_on,
    outbox,
    publish_all,
    rating,
    recorded,
)

BY_PRODUCT = Rules(roll_ups=(("product",), ("product", "channel")))


def history(first: int, last: int) -> list[Any]:
    return [
        answered(n, rating("nps", n % 11), at=NOW - timedelta(hours=n), product=f"p{n % 3}", department=f"d{n % 2}")
        for n in range(first, last)
    ]


async def names(service: ScoringService, **wanted: Any) -> set[str]:
    page = await service.page("acme", ScoreFilter(windows=("90d",), **wanted), None, 1000)
    return {",".join(f"{name}={value}" for name, value in item.key.dimensions) for item in page.items}


async def test_the_draft_goes_on_beside_what_comes_and_nothing_is_seen_of_it_before(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "DRAFT_ROWS", 10)
    service, database = made
    log = history(0, 60)
    for first in range(0, 60, 5):
        await deliver(service, database, log[first : first + 5])
    before = await names(service)
    assert "department=d0" in before
    standing = await service.change_rules("acme", BY_PRODUCT)
    assert (standing.ruled.version, standing.coming) == (0, ((1, BY_PRODUCT), 0.0))
    # Answers come, are corrected and removed while the draft is under way: ones it has counted, and ones to come.
    shares, sent = [], len(await outbox(database))
    for n, changed in enumerate((1, 30, 59, 2, 58)):
        fields = {"at": NOW - timedelta(hours=changed), "product": "p9", "department": "d0"}
        more = [
            answered(changed, rating("nps", 10), revision=1, **fields),
            answered(changed + 1, at=NOW, revision=1, removed=True),
            answered(100 + n, rating("nps", 0), at=NOW, product="p1"),
        ]
        log += more
        async with database.unit_of_work() as uow:
            await service.take(Intake().read(recorded(more)), uow)
        await service.project("acme")
        standing = await service.standing("acme")
        if standing.coming:
            shares.append(standing.coming[1])
            assert await names(service) == before | {"product=p9"}
    assert len(shares) >= 3
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    await publish_all(service)
    standing = await service.standing("acme")
    assert (standing.ruled.version, standing.coming) == (1, None)
    assert await names(service) == {"", *(f"product=p{n}" for n in (0, 1, 2, 9))} | {
        f"channel=email,product=p{n}" for n in (0, 1, 2, 9)
    }
    page = await service.page("acme", ScoreFilter(windows=("30d",)), None, 1000)
    wanted = brute_force(log, NOW, "30d", rules=BY_PRODUCT)
    assert {item.key[1:]: (item.score.n, item.score.value) for item in page.items if item.score.n} == {
        name: (one.n, one.value) for name, one in wanted.items() if one.n
    }
    events = (await outbox(database))[sent:]
    swapped = [e for e in events if e.data.cause == "rebuild"]
    assert {e.data.rule_version for e in swapped} == {"score-3.1"}
    assert {e.data.rule_version for e in events if e.data.cause == "feedback"} <= {"score-3.0", "score-3.1"}
    # No jump: the score over all answers, which both rules have, goes on with the number it would have had anyway.
    everything = [e.data for e in events if e.data.series.window == "90d" and not e.data.series.dimensions]
    assert everything[-1].n == brute_force(log, NOW, "90d")["nps", "transactional", ()].n
    assert min(data.n for data in everything) > 50
    async with database.reader() as reader:
        assert await reader.scalar("select count(distinct generation) from day") == 1
        assert await reader.scalar("select count(distinct generation) from series") == 1


async def test_a_draft_outlives_the_process(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "DRAFT_ROWS", 10)
    service, database = made
    log = history(0, 60)
    for first in range(0, 60, 5):
        await deliver(service, database, log[first : first + 5])
    await service.change_rules("acme", BY_PRODUCT)
    for _ in range(3):
        await service.project("acme")
        service = made_on(database)
    assert (await service.standing("acme")).coming is not None
    await publish_all(service)
    page = await service.page("acme", ScoreFilter(windows=("30d",), by=("product",)), None, 1000)
    assert sum(item.score.n for item in page.items) == 60


async def test_rules_that_are_changed_again_on_the_way(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "DRAFT_ROWS", 10)
    service, database = made
    log = history(0, 60)
    for first in range(0, 60, 5):
        await deliver(service, database, log[first : first + 5])
    await service.change_rules("acme", BY_PRODUCT)
    await service.project("acme")
    last = Rules(roll_ups=(("wave",),), time_zone="Asia/Tehran")
    await service.change_rules("acme", last)
    await publish_all(service)
    assert (await service.standing("acme")).ruled == (2, last)
    assert await names(service) == {""}


async def test_another_least_n_counts_nothing_anew(made: Made) -> None:
    service, database = made
    await deliver(service, database, history(0, 5))
    await publish_all(service)
    before = len(await outbox(database))
    await service.change_rules("acme", Rules(minimum_n=3))
    await count_all(service)
    assert (await service.standing("acme")).coming is None
    await publish_all(service)
    moved = (await outbox(database))[before:]
    assert {(e.data.minimum_n, e.data.cause, e.data.rule_version) for e in moved} == {(3, "rebuild", "score-3.1")}
    assert {e.data.reportable for e in moved if e.data.series.window == "90d"} == {True, False}
    # The same again is no change.
    assert (await service.change_rules("acme", Rules(minimum_n=3))).coming is None
    assert await service.waiting() == set()


async def test_a_new_workspace_begins_with_the_rules_it_wants(made: Made) -> None:
    service, database = made
    await service.change_rules("acme", BY_PRODUCT)
    assert (await service.standing("acme")).ruled == (1, BY_PRODUCT)
    await deliver(service, database, history(0, 3))
    assert (await service.standing("acme")).coming is None
    assert "product=p1" in await names(service)
    assert "department=d1" not in await names(service)
    with pytest.raises(InvalidInput, match="No scores are kept by department"):
        await names(service, by=("department",))
