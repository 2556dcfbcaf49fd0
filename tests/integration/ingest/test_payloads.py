"""Real bodies of many vendors, with the right signature, to every connector: understood or kept, never a 5xx."""

from pathlib import Path

import pytest

from tests.integration.ingest.bodies import ALL, raw
from tests.integration.ingest.conftest import Ingest

FOLDER = Path(__file__).parents[4] / "shared" / "payloads"
BODIES: dict[str, bytes] = {
    **{f"own-{name}": raw(body) for name, (_, body) in ALL.items()},
    **{
        file.name: file.read_bytes()
        for file in sorted(FOLDER.glob("*"))
        if file.suffix in {".json", ".http", ".multipart"} and file.name != "VECTORS.json"
    },
}


@pytest.mark.parametrize("connector", list(ALL))
async def test_every_body_is_understood_or_kept(ingest: Ingest, connector: str) -> None:
    options, _ = ALL[connector]
    source = await ingest.add("vendor", connector, options)
    understood = {}
    for name, body in BODIES.items():
        answer = await ingest.deliver(source, body, options)
        assert answer.status_code in (200, 202), f"{name}: {answer.text}"
        result = answer.json()
        understood[name] = result
        assert answer.status_code == 200 or result["accepted"] or result["parked"] or result["skipped"], name
    assert understood[f"own-{connector}"]["accepted"] >= 1
    assert sum(result["parked"] for result in understood.values()) == len(await ingest.letters())
    assert sum(result["accepted"] for result in understood.values()) == await ingest.count()


async def test_real_ratings_come_through_a_field_map(ingest: Ingest) -> None:
    options = {
        "signature": {"scheme": "hmac", "header": "X-Hub-Signature-256", "prefix": "sha256="},
        "channel": "facebook",
        "public": True,
        "items": "entry[*].changes[*]",
        "only": {"field": ["ratings"], "value.item": ["rating"], "value.verb": ["add"]},
        "fields": {"id": "value.open_graph_story_id", "text": "value.review_text", "customer.id": "value.reviewer_id"},
        "constants": {"customer.name": "somebody"},
    }
    source = await ingest.add("page", "generic", options)
    body = BODIES.get("meta-page-ratings-rating-add-31.json", META)
    answer = await ingest.deliver(source, body, options)
    assert answer.json() == {"accepted": 1, "parked": 0, "skipped": {}}
    assert (await ingest.events())[0].data.sensitive.text


META = b"""{"object": "page", "entry": [{"id": "1", "time": 1, "changes": [{"field": "ratings", "value": {
    "item": "rating", "verb": "add", "open_graph_story_id": 17, "reviewer_id": 9, "review_text": "Good"}}]}]}"""
