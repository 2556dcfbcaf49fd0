import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("posthog").body)
EVENT = BODY["event"]
ASKED = {name: value for name, value in EVENT["properties"].items() if not name.startswith("$survey_response")}


def sent(
    answers: dict[str, Any], at: str = EVENT["timestamp"], name: str = "survey sent", **asked: Any
) -> dict[str, Any]:
    return {**BODY, "event": {**EVENT, "event": name, "timestamp": at, "properties": {**ASKED, **answers, **asked}}}


FIRST = {
    "kind": "survey_response",
    "removed": False,
    "revision": 1773134092250,
    "channel": "app",
    "survey.id": "0195e000-0000-7000-8000-00000000a11e",
    "survey.type": "relational",
    "segment": "gold",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "ratings.0.scale_min": 0,
    "ratings.0.scale_max": 10,
    "ratings.1": None,
    "language": "en",
    "public": False,
    "sensitive.text": "Why?\nThe delivery page shows the wrong day.\n\n"
    "What should be better?\nTell me when the courier is here.",
    "sensitive.identity": "nora@example.com",
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "occurred_at": "2026-03-10T09:14:52.250000Z",
}
RATED = {"$survey_response_b7f1-recommend": 6}
EXPLAINED = {**RATED, "$survey_response_b7f1-why": "Wrong day."}
PARTIAL = sent(RATED, "2026-03-10T09:14:40Z", **{"$survey_completed": False})
WHOLE = sent(EXPLAINED, "2026-03-10T09:14:52Z")
NUMBERED = {"$survey_response": "9", "$survey_response_1": "Fine."}
NOBODY = {"event": {**EVENT, "distinct_id": "0195-anonymous"}}
CHOSEN = {"$survey_response_b7f1-used": ["Orders"]}

CASES = Cases(
    settings={
        "channel": "app",
        "survey_type": "relational",
        "fields": {"b7f1-recommend": {"metric": "nps"}, "0": {"metric": "nps"}},
        "hidden": {"plan": "segment"},
    },
    first=(FIRST,),
    samples={
        "numbers as numbers": Sent(sent(RATED), ({"ratings.0.value": 6, "sensitive.text": None},)),
        "by number": Sent(sent(NUMBERED), ({"ratings.0.value": 9, "sensitive.text": "Fine."},)),
        "the event alone": Sent(
            EVENT,
            (
                {**FIRST, "segment": None, "sensitive.email": None, "sensitive.name": None}
                | {"sensitive.identity": "C-20911"},
            ),
        ),
        "nobody known": Sent(NOBODY, ({"sensitive.identity": "0195-anonymous", "sensitive.email": None},)),
        "no submission id": Sent(sent(EXPLAINED, **{"$survey_submission_id": None}), ({"ratings.0.value": 6},)),
    },
    vector=Vector(
        secret="posthog-bearer-secret-0123456789",
        body=b'{"event":{}}',
        headers={"Authorization": "Bearer posthog-bearer-secret-0123456789"},
    ),
    edit=(
        Sent(PARTIAL, ({"ratings.0.value": 6, "sensitive.text": None},)),
        Sent(WHOLE, ({"ratings.0.value": 6, "sensitive.text": "Wrong day."},)),
    ),
    delete=Lacks("PostHog has no event for a deleted response"),
    batch=Lacks("one event a delivery"),
    skips={
        "survey shown": Sent(sent({}, name="survey shown")),
        "survey dismissed": Sent(sent(RATED, name="survey dismissed")),
        "survey abandoned": Sent(sent(RATED, name="survey abandoned")),
        "other event": Sent(sent({}, name="$pageview")),
        "no answer": Sent(sent({"$survey_response": None, "$survey_response_b7f1-why": ""})),
        "partial response without words": Sent(sent(CHOSEN, **{"$survey_completed": False})),
    },
    handshakes=Lacks("PostHog posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent(b"<xml/>"),
        Sent({"event": "survey sent"}),
        Sent(sent({"$survey_response_b7f1-ease": "5"})),
        Sent(sent(CHOSEN)),
    ),
)
