"""What OpenAPI says is what the endpoints do; neither what fits the schema nor what does not ends in a 5xx."""

import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest import examples
from services.ingest.inputs import FeedbackIn
from tests.integration.ingest.conftest import Ingest
from tests.unit.ingest.test_decoding import json_values

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


async def test_bodies_examples_and_answers_are_documented(shared_ingest: Ingest) -> None:
    paths = shared_ingest.app.openapi()["paths"]
    body = paths["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["examples"]) == set(examples.BODIES)
    assert {"202", "401", "403", "413", "422", "503"} <= set(paths["/v1/feedback"]["post"]["responses"])
    assert {"200", "202", "401", "413", "503"} <= set(paths["/v1/sources/{key}"]["post"]["responses"])
    assert {"202", "401", "403", "415", "422", "503"} <= set(paths["/v1/feedback/import"]["post"]["responses"])
    assert set(paths["/v1/feedback/import"]["post"]["requestBody"]["content"]) == {"application/x-ndjson", "text/csv"}
    assert "get" in paths["/v1/sources"]


fields = st.sampled_from([*FeedbackIn.model_fields, "unknown"])
objects = st.dictionaries(fields, json_values, max_size=8)
almost = objects.map(lambda changed: {**examples.SURVEY_EXAMPLE, **changed})


@QUIET
@given(body=json_values | objects | almost | st.lists(almost, max_size=3))
async def test_any_json_is_accepted_or_refused_and_what_is_accepted_can_be_read(
    shared_ingest: Ingest, body: Any
) -> None:
    answer = await shared_ingest.post(json.dumps(body).encode())
    assert answer.status_code in (202, 422), answer.text
    assert answer.status_code == 202 or answer.json()["faults"]


async def test_every_accepted_body_reaches_the_bus_readable(shared_ingest: Ingest) -> None:
    await shared_ingest.post(examples.SURVEY_EXAMPLE)
    events = await shared_ingest.events()
    assert len(events) == await shared_ingest.count()
    assert events


async def test_bodies_made_from_the_schema(shared_ingest: Ingest) -> None:
    document = shared_ingest.app.openapi()
    operation = schemathesis.openapi.from_dict(document)["/v1/feedback"]["POST"]

    bodies: list[Any] = []

    @settings(QUIET, max_examples=60)
    @given(case=operation.as_strategy())
    def collect(case: Any) -> None:
        bodies.append(case.body)

    collect()
    assert len(bodies) >= 30
    statuses = [(await shared_ingest.post(json.dumps(body).encode())).status_code for body in bodies]
    assert set(statuses) <= {202, 422}
    assert 202 in statuses


@QUIET
@given(content=st.binary(max_size=300) | st.text(alphabet='{}[]",:\nidtextscore.09', max_size=200).map(str.encode))
async def test_any_bytes_can_be_imported_without_a_5xx(shared_ingest: Ingest, content: bytes) -> None:
    for form in ("csv", "ndjson"):
        headers = shared_ingest.key("operator")
        path = f"/v1/feedback/import?format={form}"
        answer = await shared_ingest.client.post(path, content=content, headers=headers)
        assert answer.status_code in (202, 422), answer.text
