import json
from typing import Any

import httpx
import pytest

from services.ingest import examples
from shared.contracts.envelope import Event
from shared.core.ids import external_event_id, name_id
from shared.telemetry.metrics import REGISTRY
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.integration.ingest.wire import raw_request, served

SURVEY = {"id": "s", "type": "transactional"}


async def test_accepted_means_on_the_bus_with_ids_that_repeat(ingest: Ingest) -> None:
    before = REGISTRY.get_sample_value("ingest_accepted_events_total", {"connector": "api"}) or 0
    answer = await ingest.post(examples.SURVEY_EXAMPLE)
    again = await ingest.post(examples.SURVEY_EXAMPLE)
    assert (answer.status_code, again.status_code) == (202, 202)
    assert answer.json() == again.json()
    item = answer.json()["items"][0]
    assert item["id"] == str(external_event_id(WORKSPACE, "api", "resp-8812", 0))
    assert item["feedback_id"] == str(name_id("feedback", WORKSPACE, "api", "resp-8812"))
    events = await ingest.events()
    assert [str(event.id) for event in events] == [item["id"]] * 2
    assert (events[0].workspace, events[0].data.source, events[0].data.connector) == (WORKSPACE, "api", "api")
    assert REGISTRY.get_sample_value("ingest_accepted_events_total", {"connector": "api"}) == before + 2


async def test_every_documented_example_is_accepted(ingest: Ingest) -> None:
    for example in examples.BODIES.values():
        assert (await ingest.post(example["value"])).status_code == 202


async def test_what_identifies_a_person_is_in_no_key_and_no_header(ingest: Ingest) -> None:
    await ingest.post({**examples.SURVEY_EXAMPLE, "title": "Cracked", "url": "https://example.com/nora"})
    record = (await ingest.records())[0]
    outside = record.key + b"".join(name.encode() + value for name, value in record.headers)
    data = json.loads(record.value)
    sensitive = data.pop("sensitive")
    assert sensitive["text"] == examples.SURVEY_EXAMPLE["text"]
    for word in ("nora", "Nora", "Whitfield", "example.com", "lamp came", "Cracked"):
        assert word.encode() not in outside
        assert word not in json.dumps(data)
    customer = name_id("customer", WORKSPACE, "nora@example.com")
    assert record.key == f"{WORKSPACE}/{customer}".encode()


async def test_an_array_is_whole_or_nothing(ingest: Ingest) -> None:
    items: list[dict[str, Any]] = [{"id": str(n), "text": "x"} for n in range(500)]
    answer = await ingest.post(items)
    assert answer.status_code == 202
    assert len({item["id"] for item in answer.json()["items"]}) == 500
    bad = [*items[:3], {"id": "3", "ratings": [{"metric": "csat", "value": 9}]}, {"text": "x", "kind": "odd"}]
    refused = await ingest.post(bad)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert [fault["path"] for fault in refused.json()["faults"]] == ["[3].ratings[0].value", "[4].kind"]
    assert await ingest.count() == 500


@pytest.mark.parametrize("number", [0, 501])
async def test_an_array_holds_1_to_500(ingest: Ingest, number: int) -> None:
    refused = await ingest.post([{"text": str(n)} for n in range(number)])
    assert (refused.status_code, refused.json()["faults"][0]["path"]) == (422, "$")
    assert "500" in refused.json()["faults"][0]["reason"]


BAD: list[tuple[bytes, str]] = [
    (b"", "$"),
    (b"not json", "$"),
    (b'{"metric": "nps", "score": NaN}', "score"),
    (b'{"metric": "nps", "score": 1e999}', "score"),
    (b'{"text": "\\u0000"}', "text"),
    (b'{"text": "\\ud83d"}', "text"),
    (b'\xef\xbb\xbf{"text": "a"}', "$"),
    (b'{"text": "\xff"}', "$"),
    (b'[{"text": "a"}, {"metric": "nps", "score": 11}]', "[1].score"),
    (b'{"text": "a", "kind": "unknown"}', "kind"),
    (b'{"text": "a", "text": "b"}', "text"),
    (b"[" * 100_000, "$"),
    (b'{"a":' * 40_000, "$"),
    (b"[" + b"[]," * 20_000 + b"[]]", "$"),
    (b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}", "$"),
    (b"null", "$"),
    (b'"text"', "$"),
]


@pytest.mark.parametrize(("body", "path"), BAD, ids=[str(body[:24]) for body, _ in BAD])
async def test_bad_bodies_are_refused_with_the_path(shared_ingest: Ingest, body: bytes, path: str) -> None:
    before = await shared_ingest.count()
    refused = await shared_ingest.post(body)
    assert refused.status_code == 422
    assert refused.json()["faults"][0]["path"] == path
    assert refused.json()["faults"][0]["reason"]
    assert await shared_ingest.count() == before


async def test_who_may_post(shared_ingest: Ingest) -> None:
    before = await shared_ingest.count()
    post = shared_ingest.client.post
    body = {"text": "a"}
    for headers in ({}, {"authorization": "Bearer nothing"}, {"x-api-key": "clk_aaaaaaaaaaaa_" + "a" * 43}):
        assert (await post("/v1/feedback", json=body, headers=headers)).status_code == 401
    for role in ("agent", "manager"):
        assert (await shared_ingest.post(body, role)).status_code == 403
    assert await shared_ingest.count() == before
    for role in ("channel", "operator", "admin"):
        assert (await shared_ingest.post(body, role)).status_code == 202
    assert (await shared_ingest.client.get("/v1/feedback", headers=shared_ingest.key("admin"))).status_code == 405


async def test_the_idempotency_key_names_what_has_no_id(shared_ingest: Ingest) -> None:
    async def ids(body: Any, key: str | None = None) -> list[str]:
        headers = {"Idempotency-Key": key} if key else {}
        return [item["id"] for item in (await shared_ingest.post(body, **headers)).json()["items"]]

    assert await ids({"text": "a"}, "k1") == await ids({"text": "b"}, "k1")
    assert await ids({"text": "a"}, "k1") != await ids({"text": "a"}, "k2")
    assert await ids({"text": "a"}) == await ids({"text": "a"})
    assert await ids({"text": "a", "id": "1"}, "k1") == await ids({"text": "a", "id": "1"}, "k2")
    assert len(set(await ids([{"text": "a"}, {"text": "a"}], "k1"))) == 2
    refused = await shared_ingest.post({"text": "a"}, **{"Idempotency-Key": "x" * 151})
    assert (refused.status_code, refused.json()["faults"][0]["path"]) == (422, "Idempotency-Key")


async def test_the_trace_goes_on(ingest: Ingest) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    await ingest.post({"text": "a"}, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    await ingest.post({"text": "b"}, traceparent="00-not-a-trace-01")
    first, second = await ingest.events()
    assert first.traceparent is not None
    assert trace in first.traceparent
    assert "not-a-trace" not in str(second.traceparent)


async def test_compressed_bodies_are_refused(shared_ingest: Ingest) -> None:
    assert (await shared_ingest.post(b"\x1f\x8b", **{"content-encoding": "gzip"})).status_code == 415


async def test_text_comes_out_in_nfc(ingest: Ingest) -> None:
    await ingest.post({"text": "Cafe\u0301 نمی\u200cرسد \U0001f44d"})
    event: Event[Any] = (await ingest.events())[0]
    assert event.data.sensitive.text == "Café نمی\u200cرسد 👍"


async def test_over_the_limit_is_413_whether_declared_chunked_or_a_lie(ingest: Ingest) -> None:
    limit = 256 * 1024
    async with served(ingest) as port:
        head = ["POST /v1/feedback HTTP/1.1", "Host: x", f"Authorization: {ingest.key('channel')['authorization']}"]
        declared = await raw_request(port, [*head, f"Content-Length: {limit + 1}"], b"x" * (limit + 1))
        unsent = await raw_request(port, [*head, "Content-Length: 99999999999"], b"")
        chunk = b"%x\r\n%s\r\n" % (64 * 1024, b" " * 64 * 1024)
        chunked = await raw_request(port, [*head, "Transfer-Encoding: chunked"], chunk * 5 + b"0\r\n\r\n")
        assert [declared, unsent, chunked] == [413, 413, 413]
        body = json.dumps({"text": "x" * 60_000}).encode().ljust(limit)
        assert await raw_request(port, [*head, f"Content-Length: {limit}"], body) == 202
        pieces = b"%x\r\n%s\r\n" % (limit, body) + b"0\r\n\r\n"
        assert await raw_request(port, [*head, "Transfer-Encoding: chunked"], pieces) == 202
    assert {event.data.sensitive.text for event in await ingest.events()} == {"x" * 60_000}


async def test_bus_out_of_reach_is_503_with_retry_after(ingest: Ingest) -> None:
    await ingest.post({"text": "a"})
    for close in reversed(ingest.service.close):
        await close()
    answer = await ingest.post({"text": "b"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    ready = await ingest.client.get("/readyz")
    assert ready.status_code == 503


async def test_ready_says_what_it_looked_at(shared_ingest: Ingest) -> None:
    ready: httpx.Response = await shared_ingest.client.get("/readyz")
    assert ready.json() == {
        "status": "ready",
        "checks": {"ingest database": "ok", "ingest sources": "ok", "ingest bus": "ok"},
    }
