import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent

TEXT = "The lamp came nine days late and the shade was cracked."
REVIEW = json.loads(sample("trustpilot").body)["events"][0]["eventData"]
PRODUCT = {
    "id": "69afdf4c2f8a5b0a1c3d4e77",
    "language": "tr",
    "content": "Abajur çatlak geldi.",
    "referenceId": "ORDER-20912",
    "stars": 1,
    "state": "published",
    "createdAt": "2026-03-11T10:00:00Z",
    "link": "https://api.trustpilot.com/v1/product-reviews/69afdf4c2f8a5b0a1c3d4e77",
    "product": {"name": "Lale Home Lamp", "sku": "LAMP-1"},
    "consumer": {"id": "69af00112f8a5b0a1c3d4e02", "name": "Defne Aksoy", "email": "defne@example.com"},
}


def event(name: str, review: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"eventName": name, "version": "1", "eventData": {**review, **changed}}


def sent(*events: Any, gives: tuple[dict[str, Any], ...] = ()) -> Sent:
    return Sent({"events": list(events)}, gives)


FIRST = {
    "kind": "message",
    "revision": 0,
    "removed": False,
    "channel": "trustpilot",
    "public": True,
    "language": "en",
    "product": None,
    "survey": None,
    "thread_id": None,
    "ratings.0.metric": "rating",
    "ratings.0.value": 2,
    "ratings.0.scale_min": 1,
    "ratings.0.scale_max": 5,
    "ratings.0.formula": "mean",
    "sensitive.title": "Cracked shade",
    "sensitive.text": TEXT,
    "sensitive.handle": "69af00112f8a5b0a1c3d4e01",
    "sensitive.identity": "trustpilot:@69af00112f8a5b0a1c3d4e01",
    "sensitive.name": "Nora Whitfield",
    "sensitive.email": None,
    "sensitive.url": "https://www.trustpilot.com/reviews/69afdf4c2f8a5b0a1c3d4e5f",
    "occurred_at": "2026-03-10T09:14:52Z",
}
OF_PRODUCT = {
    "kind": "message",
    "product": "Lale Home Lamp",
    "language": "tr",
    "public": True,
    "ratings.0.value": 1,
    "sensitive.title": None,
    "sensitive.text": "Abajur çatlak geldi.",
    "sensitive.email": "defne@example.com",
    "sensitive.url": "https://api.trustpilot.com/v1/product-reviews/69afdf4c2f8a5b0a1c3d4e77",
}
CREATED = event("service-review-created", REVIEW)
CHANGED = {"text": "They sent a new one.", "stars": 4, "updatedAt": "2026-03-12T08:00:00Z"}
GONE = {"removed": True, "ratings": [], "sensitive.title": None, "sensitive.text": None, "sensitive.url": None}

CASES = Cases(
    first=(FIRST,),
    samples={
        "of a product": sent(event("product-review-created", PRODUCT), gives=(OF_PRODUCT,)),
        "not to be seen yet": sent(
            event("product-review-created", PRODUCT, state="pending"), gives=({"public": False},)
        ),
        "product changed": sent(
            event("product-review-updated", PRODUCT, stars=3, updatedAt="2026-03-12T08:00:00Z"),
            gives=({"ratings.0.value": 3, "revision": 1773302400},),
        ),
        "product removed": sent(event("product-review-deleted", {"id": PRODUCT["id"]}), gives=(GONE,)),
        "without words": sent(
            event("service-review-created", REVIEW, title=None, text=None, language="fil"),
            gives=({"ratings.0.value": 2, "sensitive.text": None, "language": None},),
        ),
        "beside another event": sent({"eventName": "invitation-sent"}, CREATED, gives=(FIRST,)),
    },
    vector=Lacks("Trustpilot documents no signature; the address is the secret"),
    edit=(
        sent(CREATED, gives=(FIRST,)),
        sent(
            event("service-review-updated", REVIEW, **CHANGED),
            gives=({**FIRST, "revision": 1773302400, "ratings.0.value": 4, "sensitive.text": CHANGED["text"]},),
        ),
    ),
    delete=(
        sent(event("service-review-updated", REVIEW, **CHANGED), gives=({"removed": False},)),
        sent(event("service-review-deleted", {"id": REVIEW["id"]}), gives=(GONE,)),
    ),
    batch=sent(CREATED, event("product-review-created", PRODUCT), gives=(FIRST, OF_PRODUCT)),
    skips={"other event": sent({"eventName": "invitation-sent", "eventData": {}})},
    handshakes=Lacks("its Test button posts an ordinary delivery"),
    unreadable=(
        *(Sent([]), Sent({}), Sent({"events": {}}), sent(5, None, []), Sent(b"\xff")),
        sent({"eventName": "service-review-created"}),
        sent(event("service-review-created", {**REVIEW, "id": None})),
        sent(event("service-review-created", REVIEW, stars=9)),
    ),
)
