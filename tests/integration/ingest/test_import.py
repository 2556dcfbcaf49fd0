import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx

from services.ingest import examples
from shared.core.ids import external_event_id
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.integration.ingest.wire import served
from tests.support.poll import eventually

NDJSON = {"content-type": "application/x-ndjson"}
CSV = {"content-type": "text/csv"}


async def send(ingest: Ingest, content: Any, headers: dict[str, str], role: str = "operator") -> httpx.Response:
    return await ingest.client.post("/v1/feedback/import", content=content, headers={**ingest.key(role), **headers})


def line(number: int) -> bytes:
    return b'{"id":"%d","metric":"nps","score":%d,"survey":{"id":"s","type":"relational"}}\n' % (number, number % 11)


async def test_the_documented_examples(ingest: Ingest) -> None:
    for content, headers in ((examples.NDJSON_EXAMPLE, NDJSON), (examples.CSV_EXAMPLE, CSV)):
        answer = await send(ingest, content, headers)
        assert (answer.status_code, answer.json()["refused"]) == (202, 0)
    events = await ingest.events()
    assert {(event.data.source, event.data.connector) for event in events} == {("import", "ndjson"), ("import", "csv")}
    twice = [event for event in events if event.id == external_event_id(WORKSPACE, "import", "resp-1", 0)]
    assert len(twice) == 2


async def test_twenty_thousand_lines_with_bad_ones(ingest: Ingest) -> None:
    bad = {
        7: b'{"id":"7","metric":"nps","score":11}\n',
        9_000: b"not json\n",
        19_999: b'{"x":"' + b"y" * 70_000 + b'"}\n',
    }
    lines = [bad.get(number, line(number)) if number % 5_000 else b"\n" for number in range(1, 20_001)]  # 4 are blank

    answer = await send(ingest, b"".join(lines), NDJSON)
    report = answer.json()
    assert (answer.status_code, report["accepted"], report["refused"]) == (202, 20_000 - 4 - 3, 3)
    assert [refusal["line"] for refusal in report["refusals"]] == [7, 9_000, 19_999]
    assert report["refusals"][0]["faults"] == [{"path": "score", "reason": "is outside its scale 0–10"}]
    assert not report["refusals_cut"]
    assert await ingest.count() == 20_000 - 4 - 3


async def test_memory_does_not_grow_with_the_file(ingest: Ingest) -> None:
    async def peak(number: int) -> int:
        async def lines() -> AsyncIterator[bytes]:
            for identifier in range(number):
                yield line(identifier)

        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        assert (await send(ingest, lines(), NDJSON)).json()["accepted"] == number
        return tracemalloc.get_traced_memory()[1] - before

    await send(ingest, b"".join(map(line, range(300))), NDJSON)
    tracemalloc.start()
    small, large = await peak(1_500), await peak(6_000)
    tracemalloc.stop()
    assert large < small * 2 + 1_000_000


async def test_the_list_of_refusals_is_cut_and_says_so(ingest: Ingest) -> None:
    answer = await send(ingest, b"{}\n" * 300 + line(1), NDJSON)
    report = answer.json()
    assert (report["accepted"], report["refused"], len(report["refusals"])) == (1, 300, 100)
    assert report["refusals_cut"] is True


async def test_as_many_refusals_as_are_asked_for(shared_ingest: Ingest) -> None:
    path, headers = "/v1/feedback/import?max_refusals=", {**shared_ingest.key("operator"), **NDJSON}
    for number, cut in ((300, False), (299, True), (0, True)):
        report = (await shared_ingest.client.post(f"{path}{number}", content=b"{}\n" * 300, headers=headers)).json()
        assert (len(report["refusals"]), report["refused"], report["refusals_cut"]) == (number, 300, cut)
    for number in (-1, 10_001):
        assert (await shared_ingest.client.post(f"{path}{number}", headers=headers)).status_code == 422


async def test_csv_rows_over_several_lines(ingest: Ingest) -> None:
    rows = 'id,channel,text\n1,store,"Two\nlines"\n2,store,"open\n3,store,fine\n4,store\n'
    answer = await send(ingest, rows, CSV)
    report = answer.json()
    assert (report["accepted"], [refusal["line"] for refusal in report["refusals"]]) == (2, [4, 6])
    assert {event.data.sensitive.text for event in await ingest.events()} == {"Two\nlines", "fine"}


async def test_what_cannot_be_imported_is_refused_whole(shared_ingest: Ingest) -> None:
    before = await shared_ingest.count()
    header = await send(shared_ingest, "id,txt\n1,a\n", CSV)
    assert (header.status_code, header.json()["faults"][0]["path"]) == (422, "line 1, column 2")
    assert (await send(shared_ingest, "a", {"content-type": "application/pdf"})).status_code == 415
    assert (await send(shared_ingest, b"\x1f\x8b", {**CSV, "content-encoding": "gzip"})).status_code == 415
    assert (await send(shared_ingest, line(1), NDJSON, role="channel")).status_code == 403
    assert (await shared_ingest.client.post("/v1/feedback/import", content=line(1), headers=NDJSON)).status_code == 401
    odd = await shared_ingest.client.post("/v1/feedback/import?format=xml", headers=shared_ingest.key("operator"))
    assert odd.status_code == 422
    assert await shared_ingest.count() == before


async def test_the_format_can_be_said_in_the_address(shared_ingest: Ingest) -> None:
    for form, content in (("csv", examples.CSV_EXAMPLE), ("ndjson", examples.NDJSON_EXAMPLE)):
        answer = await shared_ingest.client.post(
            f"/v1/feedback/import?format={form}", content=content, headers=shared_ingest.key("operator")
        )
        assert answer.json()["accepted"] >= 1


async def test_a_client_that_leaves_half_way_has_sent_what_it_sent(ingest: Ingest) -> None:
    async with served(ingest) as port:

        async def half() -> AsyncIterator[bytes]:
            for number in range(1_200):
                yield line(number)
            yield line(1_200)[:20]
            await eventually(arrived)
            raise ConnectionAbortedError

        async def arrived() -> bool:
            return await ingest.count() >= 1_000

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            try:
                await client.post("/v1/feedback/import", content=half(), headers={**ingest.key("operator"), **NDJSON})
            except ConnectionAbortedError:
                left = True
            else:
                left = False
        assert left

        async def all_of_it() -> bool:
            return await ingest.count() == 1_200

        await eventually(all_of_it)


async def test_no_bus_is_503_with_what_is_in_already(ingest: Ingest) -> None:
    for close in reversed(ingest.service.close):
        if "producer" in getattr(close, "__qualname__", "").lower():
            await close()
    answer = await send(ingest, b"".join(map(line, range(600))), NDJSON)
    assert answer.status_code == 503
    assert "0 lines are accepted" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    assert json.loads(answer.content)["status"] == 503
