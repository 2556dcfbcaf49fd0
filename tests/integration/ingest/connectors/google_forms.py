import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("google_forms").body)
ASKED = BODY["response"]["answers"]
WORDS, EASE, STARS = ASKED[3], ASKED[1], ASKED[2]


def response(*answers: Any, **changed: Any) -> dict[str, Any]:
    return {"form": BODY["form"], "response": {**BODY["response"], "answers": list(answers), **changed}}


FIRST = {
    "kind": "survey_response",
    "removed": False,
    "revision": 1773134092250,
    "channel": "email",
    "department": "Kadıköy",
    "survey.id": "1LaleFormDeliveryQ1",
    "survey.type": "relational",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "ratings.0.scale_max": 10,
    "ratings.1.metric": "ces",
    "ratings.1.value": 5,
    "ratings.1.scale_min": 1,
    "ratings.1.scale_max": 7,
    "ratings.2.metric": "rating",
    "ratings.2.value": 2,
    "ratings.2.scale_max": 5,
    "ratings.3": None,
    "product": "Lale Home Lamp",
    "public": False,
    "sensitive.text": "Why?\nNine days late, and the shade was cracked.\n\nWhat should be better?\nThe courier.",
    "sensitive.identity": "nora@example.com",
    "sensitive.email": "nora@example.com",
    "occurred_at": "2026-03-10T09:14:52.250000Z",
}
UNNAMED = {"id": "7", "title": "Would you tell a friend?", "type": "SCALE", "value": 9, "low": 0, "high": 10}
ANONYMOUS = response(UNNAMED, {**WORDS, "value": "Fine."}, email=None)
CHANGED = response({**WORDS, "value": "It is here now."}, at="2026-03-11T10:00:00.000Z")

CASES = Cases(
    settings={
        "channel": "email",
        "survey_type": "relational",
        "fields": {
            "1633920210": {"metric": "nps"},
            "How easy was it?": {"metric": "ces"},
            "1633920215": {"to": "product"},
        },
        "hidden": {"store": "department"},
    },
    first=(FIRST,),
    samples={
        "a scale of 0 to 10 that the settings do not name": Sent(
            ANONYMOUS,
            (
                {
                    "ratings.0.metric": "rating",
                    "ratings.0.value": 9,
                    "ratings.0.scale_min": 0,
                    "ratings.0.scale_max": 10,
                    "ratings.1": None,
                    "customer_id": None,
                    "sensitive.text": "Fine.",
                },
            ),
        ),
        "a scale that the form changed": Sent(
            response({**EASE, "value": 3, "high": 5}), ({"ratings.0.metric": "ces", "ratings.0.scale_max": 5},)
        ),
        "a scale left out": Sent(response(WORDS, {**STARS, "value": None}), ({"ratings.0": None},)),
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
    edit=(Sent(BODY, (FIRST,)), Sent(CHANGED, ({"sensitive.text": "It is here now.", "ratings.0": None},))),
    delete=Lacks("Google has no trigger for a deleted response"),
    batch=Lacks("one response a delivery"),
    skips=Lacks("the script sends responses alone"),
    handshakes=Lacks("the script posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent(b"<xml/>"),
        Sent(response(STARS, UNNAMED)),
        Sent(response({**STARS, "high": None})),
        Sent(response(WORDS, id="")),
        Sent(response(ASKED[6])),
        Sent(response("text")),
    ),
)
