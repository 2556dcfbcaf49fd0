import json
from typing import Any
from urllib.parse import urlencode

from services.ingest.sources.base import Wanted
from services.ingest.sources.samples import sample, sample_answer
from tests.integration.ingest.connectors.cases import Cases, Got, Lacks, Sent

FORM = {"content-type": "application/x-www-form-urlencoded"}
BODY = sample("qualtrics").body
ANSWER = json.loads(sample_answer("qualtrics"))
WANTED = Wanted("R_1l9mcVuXubb4aGm", {"survey": "SV_22VlHYNeldrrrkp"})
TOPIC = "lale.surveyengine.completedResponse.SV_1"


def form(**fields: str) -> Sent:
    return Sent(urlencode(fields).encode(), (), FORM)


def answer(**changed: Any) -> dict[str, Any]:
    return {"result": {**ANSWER["result"], "values": {**ANSWER["result"]["values"], **changed}}}


FIRST = {
    "kind": "survey_response",
    "channel": "web",
    "survey.id": "SV_22VlHYNeldrrrkp",
    "ratings.0.metric": "nps",
    "ratings.0.value": 6,
    "ratings.1.metric": "ces",
    "ratings.1.value": 4,
    "product": "Lale Home Lamp",
    "touchpoint": "Kadıköy",
    "language": "en",
    "sensitive.text": "The lamp came nine days late.",
    "sensitive.identity": "C-20911",
    "sensitive.email": "nora@example.com",
    "occurred_at": "2026-03-10T09:14:51Z",
}
LATER = answer(recordedDate="2026-03-11T09:00:00Z", QID4_TEXT="It is here now.")
SHARED_KEY = {"Status": "Complete", "SurveyID": "SV_1", "ResponseID": "R_1"}

CASES = Cases(
    settings={
        "fields": {"QID2": {"metric": "ces", "scale_min": 1, "scale_max": 7}, "QID3": {"to": "product"}},
        "hidden": {"store": "touchpoint"},
    },
    first=(FIRST,),
    wanted=WANTED,
    deliveries={
        "completed": (Sent(BODY, (), FORM), WANTED),
        "with a shared key": (
            form(MSG=json.dumps(SHARED_KEY), HMAC="00", Topic=TOPIC),
            Wanted("R_1", {"survey": "SV_1"}),
        ),
    },
    samples={
        "several choices": Got(
            {"result": {**ANSWER["result"], "labels": {"QID3": ["Lamp", "Shade"]}}},
            ({"product": "Lamp, Shade"},),
            WANTED,
        ),
    },
    vector=Lacks("Qualtrics signs nothing in a header: the address is the secret"),
    edit=(Got(ANSWER, (FIRST,), WANTED), Got(LATER, ({"sensitive.text": "It is here now."},), WANTED)),
    delete=Lacks("Qualtrics has no event for a deleted response"),
    batch=Lacks("one response a delivery, one response an answer"),
    skips={
        "other event": form(Topic="lale.controlpanel.createdSurvey", SurveyID="SV_1"),
        "response not complete": Got(answer(finished=0), (), WANTED),
    },
    handshakes=Lacks("Qualtrics posts without asking first"),
    unreadable=(
        Sent(b"", (), FORM),
        Sent({"SurveyID": "SV_1"}),
        Sent(b"\xff\xfe", (), FORM),
        form(SurveyID="SV_1", ResponseID="R/../1"),
        form(MSG="{", Topic=TOPIC),
        Got({}, (), WANTED),
        Got({"result": {"values": {"finished": 1, "recordedDate": "2026-03-11T09:00:00Z"}}}, (), WANTED),
    ),
)
