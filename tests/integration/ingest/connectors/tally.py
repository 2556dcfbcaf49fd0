import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("tally").body)
PRODUCT = BODY["data"]["fields"][4]


def response(*fields: Any, **changed: Any) -> dict[str, Any]:
    return {**BODY, "data": {**BODY["data"], "fields": list(fields), **changed}}


def field(kind: str, value: Any, label: Any = "Question") -> dict[str, Any]:
    return {"key": f"question_{kind}", "label": label, "type": kind, "value": value}


FIRST = {
    "kind": "survey_response",
    "removed": False,
    "revision": 0,
    "channel": "web",
    "survey.id": "VwbNEw",
    "survey.type": "transactional",
    "ratings.0.metric": "csat",
    "ratings.0.value": 2,
    "ratings.0.scale_min": 1,
    "ratings.0.scale_max": 5,
    "ratings.1.metric": "nps",
    "ratings.1.value": 6,
    "ratings.2": None,
    "product": "Lale Home Lamp",
    "public": False,
    "sensitive.text": "Why?\nNine days late, and the shade was cracked.\n\nWhat should be better?\nThe courier.",
    "sensitive.identity": "C-20911",
    "sensitive.email": "nora@example.com",
    "sensitive.phone": "+44 20 7946 0018",
    "occurred_at": "2026-03-10T09:14:52Z",
}

CASES = Cases(
    settings={
        "fields": {
            "question_wa8xyz": {"metric": "csat"},
            "How likely are you to recommend us?": {"metric": "nps"},
            "question_w7qLzk": {"to": "product"},
        },
        "hidden": {"customer": "customer.id"},
    },
    first=(FIRST,),
    samples={
        "one choice": Sent(
            response({**PRODUCT, "value": PRODUCT["options"][1]["id"]}, field("TEXTAREA", "Fine.")),
            ({"product": "Lale Rug", "sensitive.text": "Fine."},),
        ),
        "a choice of one's own": Sent(
            response({**PRODUCT, "value": ["A lampshade"]}, field("TEXTAREA", "Fine.", None)),
            ({"product": "A lampshade"},),
        ),
        "a submission": Sent(
            response(field("TEXTAREA", "Fine."), responseId=None, createdAt=None),
            ({"occurred_at": "2026-03-10T09:14:53.100000Z"},),
        ),
    },
    vector=Vector(
        secret="tally-signing-secret",
        body=b'{"eventId":"a4cb511e","eventType":"FORM_RESPONSE"}',
        headers={"Tally-Signature": "6dPJQR2PB3o+aF2kHgRNVSj1XcF3xyIXQyRGYDbdCNA="},
    ),
    edit=Lacks("Tally has no event for a changed response"),
    delete=Lacks("Tally has no event for a deleted response"),
    batch=Lacks("one response a delivery"),
    skips={"other event": Sent({**BODY, "eventType": "FORM_PUBLISHED"})},
    handshakes=Lacks("Tally posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent(b"<xml/>"),
        Sent({"eventType": "FORM_RESPONSE", "data": {"responseId": "1", "fields": {}}}),
        Sent(response(field("RATING", 4))),
        Sent(response(field("CHECKBOXES", True))),
        Sent(response("text")),
    ),
)
