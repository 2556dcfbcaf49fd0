import json
from typing import Any

from services.ingest.sources.base import Wanted
from services.ingest.sources.samples import sample_answer
from tests.integration.ingest.connectors.cases import Cases, Got, Lacks, Sent

ANSWER = json.loads(sample_answer("google_play"))
[REVIEW] = ANSWER["reviews"]
SAID = REVIEW["comments"][0]["userComment"]
WANTED = Wanted("new")
MADE = 1773134092318


def review(name: str = "gp:AOqpTOF1", **changed: Any) -> dict[str, Any]:
    return {"reviewId": name, "authorName": "Nora Whitfield", "comments": [{"userComment": {**SAID, **changed}}]}


FIRST = {
    "kind": "message",
    "channel": "google_play",
    "public": True,
    "ratings.0.metric": "rating",
    "ratings.0.value": 2,
    "ratings.0.scale_max": 5,
    "language": "en",
    "revision": MADE,
    "sensitive.title": "Late again",
    "sensitive.text": "The lamp came nine days late.",
    "sensitive.handle": "Nora Whitfield",
    "occurred_at": "2026-03-10T09:14:52.318000Z",
}
EDITED = review(text="\tIt is here now.", starRating=4, lastModified={"seconds": "1773140000", "nanos": 0})
TWO = {"reviews": [review("2"), REVIEW], "tokenPagination": {"nextPageToken": "n2"}}

CASES = Cases(
    settings={"package_name": "com.lale.home", "history_days": 3650},
    first=(FIRST,),
    wanted=WANTED,
    samples={
        "the first page of two": Got(
            TWO,
            (FIRST, FIRST),
            Wanted("new", {"after": 1, "known": {}}),
            {"after": 1, "known": {}, "fresh": {"2": MADE, "gp:AOqpTOF1": MADE}, "page": "n2"},
        ),
        "another language and no title": Got(
            {"reviews": [review(text="Geç geldi.", reviewerLanguage="tr_TR", lastModified={"seconds": 1773140000})]},
            ({"language": "tr", "sensitive.title": None, "sensitive.text": "Geç geldi."},),
            WANTED,
        ),
        "stars alone": Got({"reviews": [review(text="")]}, ({"sensitive.text": None, "ratings.0.value": 2},), WANTED),
    },
    vector=Lacks("Google Play has no webhook for reviews: the list is looked at"),
    edit=(Got(ANSWER, (FIRST,), WANTED), Got({"reviews": [EDITED]}, ({"ratings.0.value": 4},), WANTED)),
    delete=Lacks("a removed review is not told, it is only missing in the list"),
    batch=Got(TWO, (FIRST, FIRST), WANTED),
    skips={"nothing is posted here": Sent({})},
    handshakes=Lacks("nothing is posted"),
    unreadable=(
        Got([], (), WANTED),
        Got({"reviews": {}}, (), WANTED),
        Got({"reviews": [{"reviewId": "1"}]}, (), WANTED),
        Got({}, (), WANTED),
    ),
)
