from tests.integration.ingest.bodies import TYPEFORM, TYPEFORM_SETTINGS
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

PARTIAL = {**TYPEFORM, "event_type": "form_response_partial"}

CASES = Cases(
    settings=TYPEFORM_SETTINGS,
    first=(
        {
            "kind": "survey_response",
            "channel": "email",
            "survey.id": "lT4Z3j",
            "survey.type": "relational",
            "ratings.0.metric": "nps",
            "ratings.0.value": 6,
            "ratings.1.metric": "ces",
            "ratings.1.value": 5,
            "product": "Lale Home Lamp",
            "sensitive.text": "Why?\nLate.\n\nWhat should be better?\nThe courier.",
            "sensitive.email": "nora@example.com",
            "sensitive.identity": "C-20911",
            "occurred_at": "2026-03-10T09:14:52Z",
        },
    ),
    vector=Vector(
        secret="typeform-webhook-secret",
        body=b'{"event_id":"01","event_type":"form_response"}',
        headers={"Typeform-Signature": "sha256=0isReMCPJE42Lbt1VKSYDJ2SWQ1FSIVEC4cu/u6c/kQ="},
    ),
    edit=Lacks("a response is sent once; Typeform has no event for a changed one"),
    delete=Lacks("Typeform has no event for a deleted response"),
    batch=Lacks("one response a delivery"),
    skips={"partial response": Sent(PARTIAL)},
    handshakes=Lacks("Typeform posts without asking first"),
    unreadable=(Sent([]), Sent({}), Sent({"event_type": "form_response"}), Sent(b"<xml/>")),
)
