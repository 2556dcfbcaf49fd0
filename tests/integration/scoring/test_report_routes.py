"""The quarterly report over HTTP."""

from typing import Any

import httpx
import pytest

from shared.bus.port import Bus
from tests.integration.scoring.serving import key, now, wait_for_n
from tests.integration.scoring.support import answered, rating
from tests.support.harness import send

QUARTER = "/v1/reports/quarter"
QuietClient = tuple[httpx.AsyncClient, str]


async def test_a_report_is_data_or_a_page(client: httpx.AsyncClient, bus: Bus) -> None:
    await send(bus, [answered(n, rating("nps", 9), at=now(), department="support") for n in range(40)])
    await wait_for_n(client, 40)
    written = {"quarter": _running(), "department": "support", "text": "  Two seats were empty.  "}
    assert (await client.put(f"{QUARTER}/obstacles", json=written)).status_code == 204
    answer = await client.get(QUARTER, params={"department": "support"})
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    assert (report["quarter"], report["department"]) == (_running(), "support")
    assert (report["scores"][0]["score"]["value"], report["scores"][0]["score"]["n"]) == (100.0, 40)
    assert report["obstacles"]["text"] == "Two seats were empty."
    for language, direction in (("en", "ltr"), ("tr", "ltr"), ("fa", "rtl")):
        page = await client.get(QUARTER, params={"department": "support", "format": "html", "language": language})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert f'lang="{language}" dir="{direction}"' in page.text
        assert "Two seats were empty." in page.text


def _running() -> str:
    today = now()
    return f"{today.year}-Q{(today.month + 2) // 3}"


@pytest.mark.parametrize(
    ("params", "path", "says"),
    [
        ({"quarter": "2026Q3"}, "query.quarter", "2026-Q3"),
        ({"quarter": "2999-Q1"}, "query.quarter", "begins later than today"),
        ({"quarter": "1969-Q4"}, "query.quarter", "2026-Q3"),
        ({"language": "de"}, "query.language", "'en', 'tr' or 'fa'"),
        ({"format": "pdf"}, "query.format", "'json' or 'html'"),
    ],
)
async def test_what_cannot_be_reported_is_refused(
    quiet: QuietClient, params: dict[str, str], path: str, says: str
) -> None:
    client, _ = quiet
    answer = await client.get(QUARTER, params=params)
    assert answer.status_code == 422
    [fault] = answer.json()["faults"]
    assert fault["path"] == path
    assert says in fault["reason"]


@pytest.mark.parametrize(
    "body",
    [
        {"quarter": "Q3", "text": "x"},
        {"quarter": "2026-Q3"},
        {"quarter": "2026-Q3", "text": "x" * 5001},
        {"quarter": "2026-Q3", "text": "nul\0"},
        {"quarter": "2026-Q3", "text": "x", "departement": "support"},
    ],
)
async def test_obstacles_that_cannot_be_kept_are_refused(quiet: QuietClient, body: dict[str, Any]) -> None:
    client, _ = quiet
    answer = await client.put(f"{QUARTER}/obstacles", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert all(fault["path"].startswith("body") for fault in answer.json()["faults"])


async def test_agents_read_and_only_managers_write(quiet: QuietClient) -> None:
    client, url = quiet
    agent = await key(url, "acme", "agent")
    assert (await client.get(QUARTER, headers=agent)).status_code == 200
    body = {"quarter": "2026-Q3", "text": "x"}
    assert (await client.put(f"{QUARTER}/obstacles", json=body, headers=agent)).status_code == 403
