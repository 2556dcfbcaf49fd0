"""Comparisons, drivers and waves, over HTTP, on answers that were counted."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.bus import Bus
from shared.core.ids import name_id
from tests.integration.scoring.serving import now, wait_for_n
from tests.integration.scoring.support import answered, rating
from tests.support.harness import send

WEEK = timedelta(days=7)
SERIES = {"metric": "nps", "survey_type": "transactional", "window": "7d"}


def week(age: timedelta, department: str, bands: str) -> list[Any]:
    """An answer for each letter: promoter, passive, detractor."""
    value = {"p": 10, "n": 8, "d": 2}
    return [
        answered(f"{age}{department}{n}", rating("nps", value[band]), at=now() - age, department=department)
        for n, band in enumerate(bands)
    ]


async def test_now_against_before_and_what_of_it_is_real(client: httpx.AsyncClient, bus: Bus) -> None:
    events = [
        *week(timedelta(), "web", "p" * 20 + "d" * 40),
        *week(WEEK, "web", "p" * 40 + "d" * 20),
        *week(timedelta(), "store", "p" * 31 + "d" * 29),
        *week(WEEK, "store", "p" * 30 + "d" * 30),
        *week(timedelta(days=365), "store", "p" * 5 + "n" * 5),
    ]
    await send(bus, events)
    await wait_for_n(client, 120, metric="nps")
    answer = (await client.get("/v1/scores/compare", params={**SERIES, "by": "department"})).json()
    store, web = answer["items"]
    assert (web["name"], web["value"], web["n"], web["previous"]["value"]) == (
        "nps|transactional|7d|department=web",
        -33.3333,
        60,
        33.3333,
    )
    assert web["significant"]
    assert web["adjusted_p"] == pytest.approx(2 * web["previous"]["p_value"], abs=2e-6)
    assert not store["significant"]
    assert store["previous"]["change"] == pytest.approx(3.3333)
    assert answer["end"] > answer["start"] == answer["before_end"] > answer["before_start"]
    year = (await client.get("/v1/scores/compare", params={**SERIES, "against": "year", "by": "department"})).json()
    assert [item["previous"]["n"] for item in year["items"]] == [10, 0]
    assert [item["adjusted_p"] is None for item in year["items"]] == [False, True]


async def test_what_moved_a_score(client: httpx.AsyncClient, bus: Bus) -> None:
    events = [
        *week(timedelta(), "web", "p" * 45 + "d" * 30),  # 20 of 75
        *week(WEEK, "web", "p" * 35 + "d" * 15),  # 40 of 50
        *week(timedelta(), "store", "p" * 20 + "d" * 5),  # 60 of 25
        *week(WEEK, "store", "p" * 40 + "d" * 10),  # 60 of 50
    ]
    await send(bus, [*events, answered("nowhere", rating("nps", 8), at=now(), channel="email")])
    await wait_for_n(client, 101, metric="nps")
    found = (await client.get("/v1/scores/drivers", params={**SERIES, "by": "department"})).json()
    assert [part["dimension_value"] for part in found["parts"]] == ["web", "store"]
    web, store = found["parts"]
    assert (web["rate"], web["mix"], web["points"]) == (-12.5, -2.5, -15.0)
    assert (store["rate"], store["mix"]) == (0, -5.0)
    assert (web["value"], web["previous"]["value"], web["n"]) == (20, 40, 75)
    assert (found["n"], found["unnamed"]) == (101, 1)
    deeper = await client.get("/v1/scores/drivers", params={**SERIES, "by": "touchpoint", "department": "web"})
    assert deeper.json()["parts"] == []


async def test_the_same_customers_in_two_waves(client: httpx.AsyncClient, bus: Bus) -> None:
    def wave(name: str, values: dict[str, int], age: timedelta, **fields: Any) -> list[Any]:
        return [
            answered(
                f"{name}-{who}-{age}", rating("nps", value), at=now() - age, wave=name, survey_type="relational",
                customer_id=name_id("customer", who), **fields,
            )
            for who, value in values.items()
        ]  # fmt: skip

    events = [
        *wave("spring", {"ali": 2, "ece": 9, "nora": 10, "sara": 7, "only before": 3}, timedelta(days=80)),
        *wave("spring", {"ali": 5}, timedelta(days=79)),
        *wave("autumn", {"ali": 9, "ece": 1, "nora": 10, "sara": 8, "only after": 3}, timedelta(days=2)),
        answered("nobody", rating("nps", 1), at=now(), wave="autumn", survey_type="relational"),
    ]
    await send(bus, events)
    await send(bus, [answered("autumn-ece-2 days, 0:00:00", at=now(), revision=1, removed=True)])
    await send(bus, wave("autumn", {"ece": 3}, timedelta(days=1)))
    query = {"survey": "s1", "before": "spring", "after": "autumn"}
    await wait_for_n(client, 6, metric="nps", survey_type="relational")
    found = (await client.get("/v1/scores/waves", params=query)).json()
    assert (found["answered_before"], found["answered_after"], found["answered_both"]) == (5, 5, 4)
    assert found["transitions"] == {
        "detractor": {"detractor": 0, "passive": 0, "promoter": 1},
        "passive": {"detractor": 0, "passive": 1, "promoter": 0},
        "promoter": {"detractor": 1, "passive": 0, "promoter": 1},
    }
    assert found["change"] == 0
    assert found["interval"]["low"] == -found["interval"]["high"]
    [recovered], [lost] = found["recovered"]["customers"], found["lost"]["customers"]
    assert UUID(recovered["customer_id"]) == name_id("customer", "ali")
    assert (recovered["before"], recovered["after"]) == ("detractor", "promoter")
    assert UUID(lost["customer_id"]) == name_id("customer", "ece")
    assert lost["feedback_after"] == str(name_id("feedback", "acme", "autumn-ece-1 day, 0:00:00"))
    empty = (await client.get("/v1/scores/waves", params={**query, "survey": 'no"such'})).json()
    assert (empty["answered_both"], empty["change"], empty["interval"]) == (0, None, None)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/scores/compare?metric=nps&survey_type=relational&by=product,segment", "query.by"),
        ("/v1/scores/compare?metric=nps&survey_type=relational&against=christmas", "query.against"),
        ("/v1/scores/compare?metric=nps", "query.survey_type"),
        ("/v1/scores/drivers?metric=nps&survey_type=relational&by=weather", "query.by"),
        ("/v1/scores/drivers?metric=nps&survey_type=relational&by=wave&wave=w1", "query.by"),
        ("/v1/scores/drivers?metric=nps&survey_type=relational&by=segment&product=x", "query.by"),
        ("/v1/scores/waves?survey=s1&before=w1&after=w1", "query.after"),
        ("/v1/scores/waves?survey=s1&before=w1", "query.after"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(
    quiet: tuple[httpx.AsyncClient, str], path: str, place: str
) -> None:
    answer = await quiet[0].get(path)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["faults"]] == [place]
