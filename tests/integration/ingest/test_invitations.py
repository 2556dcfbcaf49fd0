"""POST /v1/invitations: what became of those who were asked."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest import examples
from services.ingest.invitations import InvitationIn
from shared.core.ids import name_id
from tests.integration.ingest.conftest import WORKSPACE, Ingest
from tests.unit.ingest.test_decoding import json_values

QUIET = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
ONE = examples.INVITATION_EXAMPLE


async def send(ingest: Ingest, body: Any, role: str = "channel") -> Any:
    return await ingest.client.post("/v1/invitations", content=json.dumps(body), headers=ingest.key(role))


async def test_accepted_means_on_the_bus_with_ids_that_repeat(ingest: Ingest) -> None:
    first, again = await send(ingest, ONE), await send(ingest, ONE)
    done = await send(ingest, [{**ONE, "status": "completed"}, {**ONE, "id": "inv-2"}], role="operator")
    assert (first.status_code, again.status_code, done.status_code) == (202, 202, 202)
    assert first.json() == again.json()
    invitation = str(name_id("invitation", WORKSPACE, "api", "inv-20911"))
    assert first.json()["items"][0]["invitation_id"] == invitation
    assert done.json()["items"][0]["invitation_id"] == invitation
    assert done.json()["items"][0]["id"] != first.json()["items"][0]["id"]
    events = await ingest.events("invitation.changed.v1")
    assert [event.data.status for event in events] == ["delivered", "delivered", "completed", "delivered"]
    assert (events[0].workspace, events[0].data.customer_id) == (
        WORKSPACE,
        name_id("customer", WORKSPACE, "nora@example.com"),
    )
    assert "nora" not in events[0].data.model_dump_json()


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"status": "opened"}, "status"),
        ({"id": None}, "id"),
        ({"invited_at": "2026-03-09T18:00:00"}, "invited_at"),
        ({"survey": {"id": "s"}}, "survey.type"),
        ({"score": 9}, "score"),
        ({"customer": {"email": "nora"}}, "customer.email"),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(ingest: Ingest, changed: dict[str, Any], path: str) -> None:
    answer = await send(ingest, [ONE, {**ONE, **changed}])
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["faults"]] == [f"[1].{path}"]
    assert await ingest.events("invitation.changed.v1") == []


async def test_a_manager_may_not_send_any(ingest: Ingest) -> None:
    assert (await send(ingest, ONE, role="manager")).status_code == 403


@QUIET
@given(
    body=json_values
    | st.dictionaries(st.sampled_from([*InvitationIn.model_fields, "unknown"]), json_values, max_size=6).map(
        lambda changed: {**ONE, **changed}
    )
)
async def test_any_json_is_accepted_or_refused(shared_ingest: Ingest, body: Any) -> None:
    answer = await send(shared_ingest, body)
    assert answer.status_code in (202, 422), answer.text
    assert answer.status_code == 202 or answer.json()["faults"]


async def test_bodies_made_from_the_schema_and_every_example(shared_ingest: Ingest) -> None:
    operation = schemathesis.openapi.from_dict(shared_ingest.app.openapi())["/v1/invitations"]["POST"]
    bodies: list[Any] = [example["value"] for example in examples.INVITATIONS.values()]
    documented = len(bodies)

    @settings(QUIET, max_examples=20)
    @given(case=operation.as_strategy())
    def collect(case: Any) -> None:
        bodies.append(case.body)

    collect()
    statuses = [(await send(shared_ingest, body)).status_code for body in bodies]
    assert set(statuses[:documented]) == {202}
    assert set(statuses) <= {202, 422}
