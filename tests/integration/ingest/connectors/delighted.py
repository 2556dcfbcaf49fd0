import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("delighted").body)


def updated(**changed: Any) -> dict[str, Any]:
    return {**BODY, "event_type": "survey_response.updated", "event_data": {**BODY["event_data"], **changed}}


FIRST = {
    "kind": "survey_response",
    "channel": "email",
    "survey.id": "delighted",
    "survey.type": "transactional",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "sensitive.text": None,
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": "https://delighted.com/r/5435c5c0",
    "occurred_at": "2026-03-10T09:14:52Z",
}
LATER = updated(comment="Nine days late.", updated_at=1773134152)

SIGNATURE = "fc461ad923c79563b2b866dca7be357fcb0f3555da16103381b8fb6d917a40f6"

CASES = Cases(
    first=(FIRST,),
    vector=Vector(
        secret="delighted-private-api-key",
        body=b'{"event_type":"survey_response.created"}',
        headers={"X-Delighted-Webhook-Signature": f"sha256={SIGNATURE}"},
    ),
    edit=(Sent(BODY, (FIRST,)), Sent(LATER, ({**FIRST, "sensitive.text": "Nine days late."},))),
    delete=Lacks("Delighted has no event for a deleted response"),
    batch=Lacks("one response a delivery"),
    skips={"other event": Sent({**BODY, "event_type": "survey_response.unsubscribed"})},
    handshakes=Lacks("Delighted posts without asking first"),
)
