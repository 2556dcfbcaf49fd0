"""The whole service as app.py composes it: real bus, real database, real HTTP."""

import asyncio
import csv
import json
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.scoring.repository import alerts
from services.scoring.repository.alerts import Alert
from shared.bus import Bus, TopicPartition, codec
from shared.db.database import Database
from tests.integration.scoring.serving import key, now, wait_for_n
from tests.integration.scoring.support import answered, rating
from tests.support.harness import send
from tests.support.poll import eventually


async def sse(
    client: httpx.AsyncClient, count: int, *, after: str | None = None, **params: str
) -> list[tuple[str, Any]]:
    """The next (id, event) pairs of the stream."""
    headers = {} if after is None else {"Last-Event-ID": after}
    found: list[tuple[str, Any]] = []
    identifier = ""
    async with asyncio.timeout(15), client.stream("GET", "/v1/scores/stream", params=params, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                identifier = line[4:]
            if line.startswith("data: "):
                found.append((identifier, json.loads(line[6:])))
                if len(found) == count:
                    return found
    return found


async def test_published_feedback_becomes_a_published_score(client: httpx.AsyncClient, bus: Bus) -> None:
    listening = asyncio.create_task(sse(client, 1, window="7d", by="department"))
    events = [answered(n, rating("nps", 9), at=now(), department="support") for n in range(3)]
    await send(bus, events)
    item = await wait_for_n(client, 3, metric="nps")
    assert (item["value"], item["promoters"], item["reportable"], item["minimum_n"]) == (100.0, 3, False, 30)
    assert item["name"] == "nps|transactional|7d|"

    async def on_the_bus() -> list[Any]:
        ends = await bus.offsets("score.updated.v1")
        records = [
            record
            for partition, (first, _) in ends.items()
            for record in await bus.read(TopicPartition("score.updated.v1", partition), first, 1000)
        ]
        scores = [codec.decode(record) for record in records]
        return [e for e in scores if e.data.series.window == "7d" and not e.data.series.dimensions and e.data.n == 3]

    [published] = await eventually(on_the_bus)
    assert (published.data.value, published.workspace) == (100.0, "acme")
    # A stream that began before or after: it begins with whatever comes, so send one more.
    await send(bus, [answered(99, rating("nps", 0), at=now(), department="support")])
    [(_, event)] = await listening
    assert event["type"] == "dev.closeloop.score.updated.v1"
    assert event["data"]["series"]["dimensions"] == {"department": "support"}


async def test_a_stream_goes_on_after_the_last_event_id(client: httpx.AsyncClient, bus: Bus, database_url: str) -> None:
    await send(bus, [answered("first", rating("nps", 9), at=now())])
    await wait_for_n(client, 1, metric="nps")
    filters = {"window": "7d", "by": "all", "metric": "nps"}
    [(identifier, first)] = await sse(client, 1, after="0.0", **filters)
    assert first["data"]["n"] == 1
    # While nobody listens two more series move, and another workspace.
    other = await key(database_url, "lale", "manager")
    await send(bus, [answered("x", rating("nps", 0), at=now(), workspace="lale")])
    await send(bus, [answered("second", rating("nps", 9), at=now())])
    await wait_for_n(client, 2, metric="nps")
    [(_, second)] = await sse(client, 1, after=identifier, **filters)
    assert (second["workspace"], second["data"]["n"]) == ("acme", 2)
    async with httpx.AsyncClient(base_url=client.base_url, headers=other, timeout=30) as theirs:
        [(_, event)] = await sse(theirs, 1, after=identifier, **filters)
    assert (event["workspace"], event["data"]["n"], event["data"]["value"]) == ("lale", 1, -100.0)


async def test_another_workspace_sees_nothing(client: httpx.AsyncClient, bus: Bus, database_url: str) -> None:
    await send(bus, [answered(1, rating("nps", 9), at=now(), department="support")])
    await wait_for_n(client, 1, metric="nps")
    other = await key(database_url, "lale", "admin")
    assert (await client.get("/v1/scores", headers=other)).json() == {"items": [], "next": None}
    query = {"metric": "nps", "survey_type": "transactional", "department": "support"}
    points = (await client.get("/v1/scores/history", params=query, headers=other)).json()["points"]
    assert {point["n"] for point in points} == {0}
    # Row-level security alone, without any condition of ours, hides the rows of others from a request.
    database = Database(database_url, "scoring", encode=codec.encode, pool_size=1)
    for table in ("block", "series", "day", "score", "progress"):
        async with database.reader("acme") as reader:
            assert await reader.scalar(f"select count(*) from {table}") > 0
        async with database.reader("lale") as reader:
            assert await reader.scalar(f"select count(*) from {table}") == 0
    await database.stop()


@pytest.mark.parametrize(("roles", "status"), [(["agent"], 200), (["operator"], 200), (["channel"], 403), (None, 401)])
async def test_who_may_read(quiet: tuple[httpx.AsyncClient, str], roles: list[str] | None, status: int) -> None:
    client, database_url = quiet
    headers = {"Authorization": "Bearer nonsense"} if roles is None else await key(database_url, "acme", *roles)
    for path in ("/v1/scores", "/v1/scores/history?metric=nps&survey_type=relational"):
        assert (await client.get(path, headers=headers)).status_code == status
    if status != 200:
        assert (await client.get("/v1/scores/stream", headers=headers)).status_code == status


async def test_filters_and_pages(client: httpx.AsyncClient, bus: Bus) -> None:
    events = [
        answered(
            n,
            rating("nps", n % 11),
            rating("csat", 1 + n % 5),
            at=now(),
            department=("support", "sales")[n % 2],
            touchpoint="store",
            product=f"p{n % 7}",
        )
        for n in range(70)
    ]
    await send(bus, events)
    await wait_for_n(client, 70, metric="csat")

    async def names(**params: Any) -> list[str]:
        answer = await client.get("/v1/scores", params={"limit": 200, **params})
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]

    everything = await names()
    assert len(everything) == 2 * 5 * (1 + 1 + 2 + 7 + 1 + 2)
    assert await names(department="support", window="7d", metric="nps") == [
        "nps|transactional|7d|department=support",
        "nps|transactional|7d|department=support,touchpoint=store",
    ]
    assert await names(by="department", window="30d", metric="csat") == [
        "csat|transactional|30d|department=sales",
        "csat|transactional|30d|department=support",
    ]
    assert await names(by="touchpoint,department", department="sales", window="7d", metric="nps") == [
        "nps|transactional|7d|department=sales,touchpoint=store"
    ]
    assert await names(survey_type="relational") == []
    assert len(await names(by="product", window="7d", metric="nps", reportable="false")) == 7
    reportable = await names(window="7d", metric="nps", reportable="true")
    assert "nps|transactional|7d|" in reportable
    assert not any("product" in name for name in reportable)

    # A joiner, as Persian spells with, is no reason to lose one's place in the list.
    await send(bus, [answered("joiner", rating("nps", 9), at=now(), product="می‌خواهیم")])
    await wait_for_n(client, 71, metric="nps")
    for extra in ({}, {"reportable": "true"}):
        paged: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get("/v1/scores", params={"limit": 7, **cursor, **extra})).json()
            paged += [item["name"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert paged == await names(**extra)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/scores?window=14d", "query.window"),
        ("/v1/scores?metric=ltv", "query.metric"),
        ("/v1/scores?region=eu", "query.region"),
        ("/v1/scores?by=product,segment", "query.by"),
        ("/v1/scores?by=region", "query.by"),
        ("/v1/scores?cursor=xx", "query.cursor"),
        ("/v1/scores?cursor=WyJ4IiwgNV0", "query.cursor"),
        ("/v1/scores?limit=0", "query.limit"),
        ("/v1/scores?department=%00", "query.department"),
        ("/v1/scores/history?survey_type=relational", "query.metric"),
        ("/v1/scores/history?metric=nps&survey_type=relational&touchpoint=a&product=b", "query"),
        ("/v1/scores/history?metric=nps&survey_type=relational&from=2026-02-01&to=2026-01-01", "query.from"),
        ("/v1/scores/history?metric=nps&survey_type=relational&from=2024-01-01&to=2026-01-01", "query.from"),
        ("/v1/scores/history?metric=nps&survey_type=relational&to=0001-01-01", "query.from"),
        ("/v1/scores/history?metric=nps&survey_type=relational&limit=3", "query.limit"),
        ("/v1/scores/stream?window=1d", "query.window"),
        ("/v1/scores/stream?departement=x", "query.departement"),
    ],
)
async def test_what_does_not_exist_is_refused_with_a_reason(
    quiet: tuple[httpx.AsyncClient, str], path: str, place: str
) -> None:
    answer = await quiet[0].get(path)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["faults"]] == [place]
    assert answer.json()["faults"][0]["reason"]


async def test_an_id_that_no_stream_gave_out_is_refused(quiet: tuple[httpx.AsyncClient, str]) -> None:
    answer = await quiet[0].get("/v1/scores/stream", headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 422


async def test_rules_are_read_by_all_and_changed_by_managers(
    client: httpx.AsyncClient, bus: Bus, database_url: str
) -> None:
    rules = (await client.get("/v1/scores/rules")).json()
    assert (rules["version"], rules["coming"], rules["rules"]["time_zone"]) == (0, None, "UTC")
    assert ["department", "touchpoint"] in rules["rules"]["roll_ups"]
    await send(bus, [answered(n, rating("nps", 9), at=now(), department="support", wave="w1") for n in range(3)])
    await wait_for_n(client, 3, metric="nps")
    body = {"roll_ups": [["wave", "department"]], "time_zone": "Asia/Tehran", "minimum_n": 2}
    agent = await key(database_url, "acme", "agent")
    assert (await client.put("/v1/scores/rules", json=body, headers=agent)).status_code == 403
    assert (await client.get("/v1/scores/rules", headers=agent)).status_code == 200
    assert (await client.put("/v1/scores/rules", json=body)).status_code == 200

    async def adopted() -> Any:
        found = (await client.get("/v1/scores/rules")).json()
        return found if found["version"] == 1 and found["coming"] is None else None

    assert (await eventually(adopted))["rules"]["roll_ups"] == [[], ["department", "wave"]]
    items = (await client.get("/v1/scores", params={"window": "quarter", "by": "wave,department"})).json()["items"]
    assert [(item["name"], item["n"], item["reportable"], item["rule_version"]) for item in items] == [
        ("nps|transactional|quarter|department=support,wave=w1", 3, True, "score-3.1")
    ]
    refused = await client.get("/v1/scores", params={"by": "department"})
    assert refused.status_code == 422
    assert refused.json()["faults"] == [{"path": "query.by", "reason": "scores are kept by all, department,wave"}]
    other = await key(database_url, "lale", "manager")
    assert (await client.get("/v1/scores/rules", headers=other)).json()["version"] == 0


async def test_an_export_is_safe_to_open(client: httpx.AsyncClient, bus: Bus) -> None:
    evil, lamp = '=HYPERLINK("http://x.example";"win")', "Lâle, lamba"
    events = [answered(n, rating("nps", n % 11), at=now(), product=(evil, lamp)[n % 2]) for n in range(70)]
    await send(bus, [*events, answered("few", rating("csat", 4), at=now(), touchpoint="-1+1")])
    await wait_for_n(client, 1, metric="csat")
    await wait_for_n(client, 70, metric="nps")
    answer = await client.get("/v1/scores/export.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text.startswith("\ufeffmetric,")
    rows = list(csv.DictReader(answer.text.removeprefix("\ufeff").splitlines()))
    assert len(rows) == 5 * (1 + 1 + 2) + 5 * (1 + 1 + 1)
    assert {row["product"] for row in rows} == {"", lamp, "'" + evil}
    assert {row["touchpoint"] for row in rows} == {"", "'-1+1"}
    everything = next(
        row
        for row in rows
        if row["metric"] == "nps" and row["window"] == "7d" and not row["product"] and not row["channel"]
    )
    assert (float(everything["value"]), everything["n"], everything["reportable"]) == (-48.5714, "70", "true")
    few = next(row for row in rows if row["metric"] == "csat")
    assert (few["value"], few["n"], few["reportable"]) == ("", "1", "false")
    some = (await client.get("/v1/scores/export.csv", params={"metric": "csat", "window": "month"})).text
    assert len(some.splitlines()) == 1 + 3
    assert (await client.get("/v1/scores/export.csv", params={"by": "segment,wave"})).status_code == 422


async def test_alerts_are_listed_latest_first(client: httpx.AsyncClient, database_url: str) -> None:
    assert (await client.get("/v1/scores/alerts")).json() == {"items": [], "next": None}
    database = Database(database_url, "scoring", encode=codec.encode, pool_size=1)
    series = {"metric": "nps", "survey_type": "transactional", "window": "7d", "dimensions": {}}
    for n in range(3):
        evidence = {"series": series, "value": 10.5, "n": 40 + n, "contributors": []}
        raised_at = now().replace(microsecond=0) - timedelta(hours=n)
        name = f"nps|transactional|7d|product={n}"
        alert = Alert(UUID(int=n), UUID(int=n).hex, name, "drop", raised_at, None, evidence, None)
        async with database.unit_of_work() as uow:
            await alerts.raised(uow, "acme", alert)
            if n == 1:
                await alerts.ended(uow, "acme", [alert.id], now())
    await database.stop()
    first = (await client.get("/v1/scores/alerts", params={"limit": 2})).json()
    assert [item["n"] for item in first["items"]] == [40, 41]
    assert [item["ended_at"] is None for item in first["items"]] == [True, False]
    rest = (await client.get("/v1/scores/alerts", params={"cursor": first["next"]})).json()
    assert ([item["n"] for item in rest["items"]], rest["next"]) == ([42], None)
    assert [i["n"] for i in (await client.get("/v1/scores/alerts?active=true")).json()["items"]] == [40, 42]
    other = await key(database_url, "lale", "manager")
    assert (await client.get("/v1/scores/alerts", headers=other)).json()["items"] == []
    for cursor in ("x", "MjAyNg", "MjAyNi0wMS0wMSAx"):
        assert (await client.get("/v1/scores/alerts", params={"cursor": cursor})).status_code == 422


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"roll_ups": [["region"]]}, "roll_ups.0.0"),
        ({"roll_ups": [["wave", "wave"]]}, ""),
        ({"roll_ups": [["wave", "product", "segment", "channel", "department"]]}, "roll_ups.0"),
        ({"time_zone": "Persia"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"minimum_n": 0}, "minimum_n"),
        ({"formulas": {"s1": {"csat": "median"}}}, "formulas.s1.csat"),
        ({"formulas": {"s1": {"ltv": "mean"}}}, "formulas.s1.ltv"),
        ({"rollups": []}, "rollups"),
    ],
)
async def test_rules_that_make_no_sense_are_refused(
    quiet: tuple[httpx.AsyncClient, str], body: dict[str, Any], place: str
) -> None:
    answer = await quiet[0].put("/v1/scores/rules", json=body)
    assert answer.status_code == 422
    [fault] = answer.json()["faults"]
    assert fault["path"].removeprefix("body").strip(".").startswith(place)
    assert (await quiet[0].get("/v1/scores/rules")).json()["version"] == 0


async def test_history_by_day(client: httpx.AsyncClient, bus: Bus) -> None:
    noon = now().replace(hour=12, minute=0, second=0, microsecond=0)
    at = {n: noon - timedelta(days=age) for n, age in enumerate([1, 1, 2, 9, 40])}
    values = [10, 0, 10, 10, 0]
    await send(bus, [answered(n, rating("nps", values[n]), at=at[n], department="support") for n in at])
    await wait_for_n(client, 5, metric="nps", window="90d")
    query = {"metric": "nps", "survey_type": "transactional", "department": "support"}
    today: date = noon.date()

    async def history(**more: Any) -> dict[str, tuple[int, float | None]]:
        answer = await client.get("/v1/scores/history", params={**query, **more})
        assert answer.status_code == 200, answer.text
        return {point["day"]: (point["n"], point["value"]) for point in answer.json()["points"]}

    def day(age: int) -> str:
        return (today - timedelta(days=age)).isoformat()

    alone = await history(daily="true")
    assert len(alone) == 90
    assert alone[day(1)] == (2, 0.0)
    assert alone[day(2)] == (1, 100.0)
    assert alone[day(3)] == (0, None)
    assert alone[day(40)] == (1, -100.0)
    week = await history(window="7d", **{"from": day(10), "to": day(1)})
    assert list(week) == [day(age) for age in range(10, 0, -1)]
    assert week[day(10)] == (0, None)
    assert week[day(9)] == (1, 100.0)
    assert week[day(3)] == (1, 100.0)
    assert week[day(2)] == (1, 100.0)  # the seventh day back has just fallen out
    assert week[day(1)] == (3, 33.3333)
    year = await history(window="90d", **{"from": day(399), "to": day(0)})
    assert len(year) == 400
    assert year[day(41)] == (0, None)
    assert year[day(0)] == (5, 20.0)


async def test_scores_of_a_dense_history_are_read_quickly_enough(database_url: str) -> None:
    """An index serves the read: what it touches does not grow with the rows of others."""
    database = Database(database_url, "scoring", encode=codec.encode, pool_size=1)
    async with database.unit_of_work() as uow:
        await uow.execute(
            """insert into day (workspace, generation, series, day, measure, n, top, bottom, total, squares, hours)
            select 'acme', 0, md5(s::text)::uuid, day, 'nps', 1, 1, 0, 0, 0, ''
            from generate_series(1, 400) s, generate_series(20000, 20200) day"""
        )
        plan = await uow.execute(
            """explain (analyze, format json) select sum(n) from day where workspace = 'acme' and generation = 0
            and series = md5('7')::uuid and day between 20110 and 20199"""
        )
        node = plan.scalar_one()[0]["Plan"]
    await database.stop()
    text = json.dumps(node)
    assert "day_pkey" in text
    assert "Seq Scan" not in text
