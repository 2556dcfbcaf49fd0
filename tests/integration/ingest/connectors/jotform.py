import json
from typing import Any
from urllib.parse import urlencode

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent

MULTIPART, URLENCODED = "multipart/form-data; boundary=lale", "application/x-www-form-urlencoded"
ANSWERS: dict[str, Any] = {
    "slug": "submit/260691234567890",
    "q6_howWas": 2,
    "q8_whatHappened": "Nine days late. 3 < 4 & so on.",
    "q5_phone": {"full": "(020) 7946-0018"},
}
FORM = {"formID": "260691234567890", "submissionID": "6184250982513018472", "rawRequest": json.dumps(ANSWERS)}


def multipart(fields: dict[str, str], end: str = "--lale--\r\n") -> Sent:
    parts = (
        f'--lale\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()
    )
    return Sent(("".join(parts) + end).encode(), headers={"content-type": MULTIPART})


def urlencoded(fields: dict[str, str], *events: dict[str, Any]) -> Sent:
    return Sent(urlencode(fields).encode(), events, {"content-type": URLENCODED})


FIRST = {
    "kind": "survey_response",
    "removed": False,
    "revision": 0,
    "channel": "web",
    "survey.id": "260691234567890",
    "survey.type": "transactional",
    "ratings.0.metric": "csat",
    "ratings.0.value": 2,
    "ratings.0.scale_max": 5,
    "ratings.1.metric": "nps",
    "ratings.1.value": 6,
    "ratings.2": None,
    "product": "Lale Home Lamp",
    "thread_id": "LL-20911",
    "public": False,
    "sensitive.text": "Nine days late, and the shade was cracked.\n\nPlease call me.",
    "sensitive.identity": "nora@example.com",
    "sensitive.email": "nora@example.com",
    "sensitive.phone": "020 79460018",
    "sensitive.name": "Nora Whitfield",
}
SECOND = {
    "ratings.0.value": 2,
    "ratings.1": None,
    "sensitive.text": "Nine days late. 3 < 4 & so on.",
    "sensitive.phone": "(020) 7946-0018",
}

CASES = Cases(
    settings={
        "fields": {
            "q6_howWas": {"metric": "csat"},
            "recommend": {"metric": "nps"},
            "whichProduct": {"to": "product"},
            "grade": {"ignore": True},  # of the published body
        },
        "hidden": {"order": "thread_id"},
    },
    first=(FIRST,),
    samples={
        "urlencoded": urlencoded(FORM, {**SECOND, "survey.id": "260691234567890"}),
        "as JSON": Sent({**FORM, "rawRequest": ANSWERS}, ({**SECOND, "survey.id": "260691234567890"},)),
        "answers alone": Sent(ANSWERS, ({**SECOND, "survey.id": "260691234567890"},)),
    },
    vector=Lacks("Jotform signs nothing: the address is the secret"),
    edit=Lacks("a submission has neither a version nor a time: a changed one cannot be told from a repeat"),
    delete=Lacks("Jotform has no event for a deleted submission"),
    batch=Lacks("one submission a delivery"),
    skips=Lacks("Jotform sends submissions alone"),
    handshakes=Lacks("Jotform posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent(b"<xml/>", headers={"content-type": MULTIPART}),
        Sent(sample("jotform").body, headers={"content-type": "multipart/form-data"}),
        Sent(b"\xff=1", headers={"content-type": URLENCODED}),
        Sent(b"a=%ff&b=2", headers={"content-type": URLENCODED}),
        multipart(FORM, end="--lale"),
        multipart({f"field{number}": "" for number in range(300)}),
        multipart({**FORM, "submissionID": ""}),
        multipart({**FORM, "rawRequest": "[1"}),
        multipart({**FORM, "rawRequest": '{"q6_howEasy":"5"}'}),
        urlencoded({"formID": "1", "submissionID": "2"}),
    ),
)
