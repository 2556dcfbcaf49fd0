import json
from typing import Any

from services.ingest.sources.base import Answer, Wanted
from services.ingest.sources.samples import sample, sample_answer
from tests.integration.ingest.connectors.cases import Cases, Got, Handshake, Lacks, Sent, Vector

BODY = json.loads(sample("surveymonkey").body)
ANSWER = json.loads(sample_answer("surveymonkey"))
WANTED = Wanted("114096", {"survey": "843721"})


def answer(**changed: Any) -> dict[str, Any]:
    return {**ANSWER, **changed}


def questions(*of: dict[str, Any]) -> dict[str, Any]:
    return answer(pages=[{"id": "1", "questions": list(of)}])


FIRST = {
    "kind": "survey_response",
    "channel": "email",
    "survey.id": "843721",
    "survey.type": "relational",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "ratings.1.metric": "ces",
    "ratings.1.value": 5,
    "ratings.1.scale_max": 7,
    "language": "en",
    "product": "Lale Home Lamp",
    "sensitive.text": "The lamp came nine days late.",
    "sensitive.identity": "C-20911",
    "sensitive.email": "nora@example.com",
    "occurred_at": "2026-03-10T09:13:51Z",
    "revision": 1773134092000,
}
CHANGED = answer(
    date_modified="2026-03-10T10:00:00+00:00",
    pages=[{"questions": [{"id": "503", "heading": "Why?", "answers": [{"text": "It is here now."}]}]}],
)
BOTH = questions(
    {"id": "504", "answers": [{"choice_id": "1", "simple_text": "Lamp"}, {"choice_id": "2", "simple_text": "Shade"}]},
    {"id": "503", "answers": [{"text": "Late."}]},
)
DELETED = {**BODY, "event_type": "response_deleted", "event_datetime": "2026-03-11T09:14:55.318+00:00"}

CASES = Cases(
    settings={
        "client_id": "lale-client",
        "channel": "email",
        "survey_type": "relational",
        "fields": {
            "501": {"metric": "nps"},
            "502/11": {"metric": "ces", "scale_min": 1, "scale_max": 7},
            "504": {"to": "product"},
        },
        "hidden": {"order": "customer.id"},
    },
    first=(FIRST,),
    wanted=WANTED,
    deliveries={
        "completed": (Sent(BODY), WANTED),
        "updated": (Sent({**BODY, "event_type": "response_updated"}), WANTED),
        "with little in it": (
            Sent({"event_type": "response_completed", "object_id": 7, "resources": {"survey_id": 8}}),
            Wanted("7", {"survey": "8"}),
        ),
    },
    samples={
        "several choices": Got(BOTH, ({"product": "Lamp, Shade", "sensitive.text": "Late."},), WANTED),
    },
    vector=Vector(
        secret="sm-secret-0123456789",
        body=b'{"event_type":"response_completed"}',
        headers={"Sm-Signature": "nEwk+sRxnMjcqmmtNI5CFYWmHrw="},
    ),
    edit=(Got(ANSWER, (FIRST,), WANTED), Got(CHANGED, ({"sensitive.text": "It is here now."},), WANTED)),
    delete=(Got(ANSWER, (FIRST,), WANTED), Sent(DELETED, ({"removed": True, "survey.id": "843721"},))),
    batch=Lacks("one response a delivery, one response an answer"),
    skips={
        "other event": Sent({**BODY, "event_type": "response_overquota"}),
        "response not complete": Got(answer(response_status="partial"), (), WANTED),
    },
    handshakes=(Handshake(Answer(), method="HEAD"),),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({**BODY, "object_id": "../114096"}),
        Sent({**BODY, "resources": {}}),
        Got([], (), WANTED),
        Got(questions({"id": "777", "answers": [{"choice_id": "1", "choice_metadata": {"weight": "4"}}]}), (), WANTED),
        Got(b'{"response_status"', (), WANTED),
    ),
)
