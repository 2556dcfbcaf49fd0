import json
from typing import Any

from services.ingest.sources.base import Wanted
from services.ingest.sources.samples import sample, sample_answer
from tests.integration.ingest.connectors.cases import Cases, Got, Lacks, Sent, Vector

[EVENT] = json.loads(sample("hubspot").body)
ANSWER = json.loads(sample_answer("hubspot"))
WANTED = Wanted("9101")


def answer(**changed: Any) -> dict[str, Any]:
    return {**ANSWER, "properties": {**ANSWER["properties"], **changed}}


FIRST = {
    "kind": "survey_response",
    "channel": "web",
    "survey.id": "17",
    "survey.type": "transactional",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "sensitive.text": "The lamp came nine days late.",
    "sensitive.identity": "20911",
    "sensitive.email": "nora@example.com",
    "occurred_at": "2026-03-10T09:14:52Z",
    "revision": 1773134093000,
}
LATER = answer(hs_content="It is here now.", hs_lastmodifieddate="2026-03-10T10:00:00Z")
DELETED = {**EVENT, "subscriptionType": "object.deletion", "occurredAt": 1773200000000}

CASES = Cases(
    settings={"scales": {"CSAT": {"metric": "csat", "scale_min": 0, "scale_max": 2}}},
    first=(FIRST,),
    wanted=WANTED,
    deliveries={
        "created": (Sent([EVENT]), WANTED),
        "the old name": (Sent([{"eventType": "feedback_submission.propertyChange", "objectId": "7"}]), Wanted("7")),
        "restored": (Sent([{**EVENT, "subscriptionType": "object.restore"}]), WANTED),
    },
    samples={
        "csat": Got(
            answer(hs_survey_type="CSAT", hs_value="2"),
            ({"ratings.0.metric": "csat", "ratings.0.value": 2, "ratings.0.scale_max": 2},),
            WANTED,
        ),
        "ces": Got(answer(hs_survey_type="CES", hs_value="5"), ({"ratings.0.scale_max": 7},), WANTED),
        "words alone": Got(answer(hs_survey_type="CUSTOM", hs_value=None), ({"ratings.0": None},), WANTED),
    },
    vector=Vector(
        secret="hs-client-secret-01234",
        body=b'[{"eventId":1}]',
        headers={
            "X-HubSpot-Signature-v3": "YNh8vkfGqR9868ZuXFyJnyQBZfdG97nhOEIDWjoaFpI=",
            "X-HubSpot-Request-Timestamp": "1773134092318",
        },
        now=1773134092.318,
        url="https://in.example.com/v1/sources/key",
    ),
    edit=(Got(ANSWER, (FIRST,), WANTED), Got(LATER, ({"sensitive.text": "It is here now."},), WANTED)),
    delete=(Got(ANSWER, (FIRST,), WANTED), Sent([DELETED], ({"removed": True},))),
    batch=Sent([DELETED, {**DELETED, "objectId": 9102}], ({"removed": True}, {"removed": True})),
    skips={
        "other event": Sent([{**EVENT, "objectTypeId": "0-1"}]),
        "archived": Got({**ANSWER, "archived": True}, (), WANTED),
    },
    handshakes=Lacks("HubSpot posts without asking first"),
    unreadable=(
        Sent({}),
        Sent([7]),
        Sent([{**EVENT, "objectId": "9101/../1"}]),
        Sent([{**DELETED, "occurredAt": "now"}]),
        Got([], (), WANTED),
        Got(answer(hs_survey_type="CUSTOM"), (), WANTED),
        Got({**answer(hs_lastmodifieddate=None), "updatedAt": None}, (), WANTED),
    ),
)
