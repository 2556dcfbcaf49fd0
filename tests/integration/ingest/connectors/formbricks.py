import json
from typing import Any

from services.ingest.sources.base import Answer
from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Handshake, Lacks, Sent, Vector

BODY = json.loads(sample("formbricks").body)
DATA = BODY["data"]


def response(event: str = "responseFinished", **changed: Any) -> dict[str, Any]:
    return {**BODY, "event": event, "data": {**DATA, **changed}}


FIRST = {
    "kind": "survey_response",
    "removed": False,
    "revision": 1773134164250,
    "channel": "app",
    "touchpoint": "delivery",
    "segment": "gold",
    "survey.id": "cm8lalesurvey01",
    "survey.type": "relational",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "ratings.0.scale_max": 10,
    "ratings.1.metric": "csat",
    "ratings.1.value": 2,
    "ratings.1.scale_min": 1,
    "ratings.1.scale_max": 4,
    "ratings.2": None,
    "product": "Lale Home Lamp, Lale Rug",
    "language": "en",
    "public": False,
    "sensitive.text": "The lamp came nine days late and the shade was cracked.",
    "sensitive.identity": "C-20911",
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "occurred_at": "2026-03-10T09:14:52Z",
}
EARLIER = response(updatedAt="2026-03-10T09:15:00.000Z", data={"recommend": 7})
CHANGED = response("responseUpdated", updatedAt="2026-03-11T10:00:00.000Z", data={"recommend": 8})
UNKNOWN = response(
    contact=None, contactAttributes=None, variables={}, language="default", data={"why": "Late.", "so": "Sad."}
)

CASES = Cases(
    settings={
        "channel": "app",
        "touchpoint": "delivery",
        "survey_type": "relational",
        "fields": {
            "recommend": {"metric": "nps"},
            "satisfied": {"metric": "csat", "scale_min": 1, "scale_max": 4},
            "which": {"to": "product"},
        },
        "hidden": {"order": "thread_id", "tier": "segment"},
    },
    first=({**FIRST, "thread_id": "LL-20911"},),
    samples={
        "finished by an update": Sent(response("responseUpdated"), (FIRST,)),
        "as its documentation shows it": Sent([BODY], (FIRST,)),
        "nobody known": Sent(
            UNKNOWN,
            (
                {
                    "language": None,
                    "segment": None,
                    "customer_id": None,
                    "sensitive.text": "Late.\n\nSad.",
                    "sensitive.identity": None,
                    "sensitive.name": None,
                },
            ),
        ),
        "an address alone": Sent(
            response(contact={"id": "cm8"}, contactAttributes={"email": "nora@example.com"}),
            ({"sensitive.identity": "nora@example.com", "sensitive.name": None},),
        ),
    },
    vector=Vector(
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body=b'{"test": 2432232314}',
        headers={
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1614265330,
    ),
    edit=(
        Sent(EARLIER, ({"ratings.0.value": 7},)),
        Sent(CHANGED, ({"ratings.0.value": 8, "revision": 1773223200000},)),
    ),
    delete=Lacks("Formbricks has no event for a deleted response"),
    batch=Lacks("one response a delivery"),
    skips={
        "partial response": Sent(response("responseUpdated", finished=False)),
        "other event": Sent({**BODY, "event": "surveyPublished"}),
    },
    handshakes=(Handshake(Answer(), method="POST", body={"event": "testEndpoint"}),),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent(b"<xml/>"),
        Sent({"event": "responseFinished"}),
        Sent([BODY, BODY]),
        Sent(response(id=None)),
        Sent(response(data={"ease": 5})),
        Sent(response(data={"contact_me": "dismissed"})),
    ),
)
