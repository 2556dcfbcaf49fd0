import json
from typing import Any

from services.ingest.sources.base import Wanted
from services.ingest.sources.samples import sample_answer
from tests.integration.ingest.connectors.cases import Cases, Got, Lacks, Sent

ANSWER = json.loads(sample_answer("app_store"))
[REVIEW] = ANSWER["data"]
NEXT = "https://api.appstoreconnect.apple.com/v1/apps/1234567890/customerReviews?cursor=AAE.x&limit=100"
WANTED = Wanted("new")
MADE = 1773134092000
ID = REVIEW["id"]


def review(name: str = ID, **changed: Any) -> dict[str, Any]:
    return {"type": "customerReviews", "id": name, "attributes": {**REVIEW["attributes"], **changed}}


def page(*reviews: Any, following: str | None = None) -> dict[str, Any]:
    return {
        "data": list(reviews),
        "links": {"self": "https://example.com", **({"next": following} if following else {})},
    }


FIRST = {
    "kind": "message",
    "channel": "app_store",
    "public": True,
    "ratings.0.metric": "rating",
    "ratings.0.value": 2,
    "ratings.0.scale_max": 5,
    "revision": MADE,
    "sensitive.title": "Late again",
    "sensitive.text": "The lamp came nine days late and the app knew nothing.",
    "sensitive.handle": "nora_w",
    "occurred_at": "2026-03-10T01:14:52-08:00",
}
EDITED = review(createdDate="2026-03-11T09:00:00+00:00", body="It is here now.", rating=4)
TWO = page(review("2"), REVIEW, following=NEXT)
CURSOR = {"after": MADE - 1000, "known": {}}

CASES = Cases(
    settings={
        "app_id": "1234567890",
        "issuer_id": "57246542-96fe-1a63-e053-0824d011072a",
        "key_id": "2X9R4HXF34",
        "history_days": 3650,
    },
    first=(FIRST,),
    wanted=WANTED,
    samples={
        "the first page of two": Got(
            TWO,
            (FIRST, FIRST),
            Wanted("new", CURSOR),
            {**CURSOR, "fresh": {"2": MADE, ID: MADE}, "page": "AAE.x"},
        ),
        "the last page": Got(
            page(REVIEW),
            (FIRST,),
            Wanted("new", {**CURSOR, "fresh": {"2": MADE}, "page": "AAE.x"}),
            {"after": MADE, "known": {"2": MADE, ID: MADE}},
        ),
        "one of two is known": Got(
            page(EDITED, review("2")),
            ({"ratings.0.value": 4},),
            Wanted("new", {"after": MADE, "known": {"2": MADE, ID: MADE}}),
        ),
        "a name with marks": Got(page(review(reviewerNickname="\u202enora")), ({"sensitive.handle": "nora"},), WANTED),
        "one without an id among good ones": Got(page({"attributes": {}}, REVIEW), (FIRST,), WANTED),
    },
    vector=Lacks("Apple has no webhook for reviews: the list is looked at"),
    edit=(Got(ANSWER, (FIRST,), WANTED), Got(page(EDITED), ({"ratings.0.value": 4},), WANTED)),
    delete=Lacks("a removed review is not told, it is only missing in the list"),
    batch=Got(TWO, (FIRST, FIRST), WANTED),
    skips={"nothing is posted here": Sent({})},
    handshakes=Lacks("nothing is posted"),
    unreadable=(
        Got([], (), WANTED),
        Got({}, (), WANTED),
        Got(page({"id": "1"}), (), WANTED),
        Got(b"<html>", (), WANTED),
    ),
)
