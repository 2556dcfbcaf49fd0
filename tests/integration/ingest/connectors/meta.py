from typing import Any

from services.ingest.sources.base import Answer, Wanted
from tests.integration.ingest.connectors.cases import Cases, Got, Handshake, Sent, Vector

PAGE, NORA, TEXT = "102233445566778", "7034512289901234", "The lamp came nine days late and the shade was cracked."
VALUE = {
    "item": "comment",
    "verb": "add",
    "comment_id": "901097836652708_903438993085259",
    "post_id": "102233445566778_901097836652708",
    "parent_id": "102233445566778_901097836652708",
    "from": {"id": NORA, "name": "Nora Whitfield"},
    "created_time": 1773134092,
    "message": TEXT,
}
GONE = {name: value for name, value in VALUE.items() if name not in ("message", "created_time")}
REVIEW = {
    "item": "rating",
    "verb": "add",
    "open_graph_story_id": 904801129604590,
    "reviewer_id": 7034512289901234,
    "reviewer_name": "Nora Whitfield",
    "review_text": "The rug is lovely.",
    "created_time": 1773134092,
}


def entry(*changes: dict[str, Any], field: str = "feed", time: Any = 1773134093, page: Any = PAGE) -> dict[str, Any]:
    return {"id": page, "time": time, "changes": [{"field": field, "value": value} for value in changes]}


def body(*entries: dict[str, Any], about: str = "page") -> dict[str, Any]:
    return {"object": about, "entry": list(entries)}


def change(field: str = "feed", time: Any = 1773134093, without: str = "", **changed: Any) -> dict[str, Any]:
    value = {name: value for name, value in VALUE.items() if name != without}
    return body(entry({**value, **changed}, field=field, time=time))


def direct(about: str = "page", **changed: Any) -> dict[str, Any]:
    message = {"mid": "m_AG5Hz2Uq7tuwNEhXfYYKj8mJ", "text": TEXT, **changed}
    sent = {"sender": {"id": NORA}, "recipient": {"id": PAGE}, "timestamp": 1773134092627, "message": message}
    return body({"id": PAGE, "time": 1773134092700, "messaging": [sent]}, about=about)


def review(**changed: Any) -> dict[str, Any]:
    return body(entry({**REVIEW, **changed}, field="ratings"))


def instagram(field: str = "comments", page: str = "17841400008460056", **changed: Any) -> dict[str, Any]:
    sender, media = (
        {"id": "1234536447", "username": "nora_w"},
        {"id": "17976543987000001", "media_product_type": "FEED"},
    )
    value = {"id": "17865799348089039", "text": TEXT, "from": sender, "media": media, **changed}
    return body(entry(value, field=field, page=page), about="instagram")


FIRST = {
    "kind": "message",
    "channel": "facebook",
    "revision": 0,
    "thread_id": "102233445566778_901097836652708",
    "public": True,
    "ratings.0": None,
    "sensitive.text": TEXT,
    "sensitive.handle": NORA,
    "sensitive.name": "Nora Whitfield",
    "occurred_at": "2026-03-10T09:14:52Z",
}
IN_MESSENGER = {
    **FIRST,
    "thread_id": f"{PAGE}/{NORA}",
    "public": False,
    "sensitive.name": None,
    "occurred_at": "2026-03-10T09:14:52.627000Z",
}
ON_INSTAGRAM = {
    **FIRST,
    "channel": "instagram",
    "thread_id": "17976543987000001",
    "sensitive.handle": "1234536447",
    "sensitive.name": "nora_w",
    "occurred_at": "2026-03-10T09:14:53Z",
}
REVIEWED = {
    **FIRST,
    "thread_id": "904801129604590",
    "ratings.0": {"metric": "rating", "value": 3.0, "scale_min": 1.0, "scale_max": 5.0, "formula": "mean"},
    "sensitive.text": "The rug is lovely.",
}
RECOMMENDED = {"metric": "rating", "value": 1.0, "scale_min": 0.0, "scale_max": 1.0, "formula": "mean"}
ADVISED_AGAINST = {**RECOMMENDED, "value": 0.0}
USER, COMMENT, MEDIA = "17841400008460056", "17887498072083520", "17976543987000001"
IN_A_COMMENT = Wanted(COMMENT, {"kind": "comment", "user": USER, "media": MEDIA})
IN_A_POST = Wanted(MEDIA, {"kind": "media", "user": USER, "media": MEDIA})
MENTION = {
    "kind": "message",
    "channel": "instagram",
    "public": True,
    "thread_id": MEDIA,
    "sensitive.text": TEXT,
    "sensitive.handle": "nora_w",
    "occurred_at": "2026-03-10T09:14:52Z",
}
SAID = {"timestamp": "2026-03-10T09:14:52+0000", "username": "nora_w"}
LINK = "https://www.instagram.com/p/ABC/"
INSTAGRAM_ENTRY = {"id": "17841400008460056", "time": 1773134093, **instagram()["entry"][0]["changes"][0]}

CASES = Cases(
    settings={"own_ids": ["7000000000000001"]},
    first=(FIRST,),
    deliveries={
        "a mention in a comment": (Sent(instagram("mentions", comment_id=COMMENT, media_id=MEDIA)), IN_A_COMMENT),
        "a mention in a post": (Sent(instagram("mentions", media_id=MEDIA)), IN_A_POST),
    },
    samples={
        "what the comment says": Got(
            {"mentioned_comment": {"id": COMMENT, "text": TEXT, **SAID}, "id": USER}, (MENTION,), IN_A_COMMENT
        ),
        "what the post says": Got(
            {"mentioned_media": {"id": MEDIA, "caption": TEXT, "permalink": LINK, **SAID}, "id": USER},
            ({**MENTION, "sensitive.url": LINK},),
            IN_A_POST,
        ),
        "an older version": Sent(
            change(without="from", sender_id=7034512289901234, sender_name="Nora Whitfield"), (FIRST,)
        ),
        "a name with marks of direction": Sent(
            change(**{"from": {"id": NORA, "name": "\u2067نورا\u2069"}}), ({"sensitive.name": "نورا"},)
        ),
        "hidden by a rule": Sent(change(is_hidden=True), ({"public": False},)),
        "hidden": Sent(change(verb="hide"), ({"public": False, "revision": 1773134093003, "sensitive.text": TEXT},)),
        "shown again": Sent(change(verb="unhide"), ({"public": True, "revision": 1773134093002},)),
        "post": Sent(change(item="post", without="comment_id"), (FIRST,)),
        "photo": Sent(change(item="photo", without="comment_id"), (FIRST,)),
        "mention": Sent(
            change(field="mention", without="from"), ({**FIRST, "sensitive.handle": None, "sensitive.name": None},)
        ),
        "stars": Sent(review(rating=3, recommendation_type="POSITIVE"), (REVIEWED,)),
        "recommended": Sent(review(recommendation_type="POSITIVE"), ({**REVIEWED, "ratings.0": RECOMMENDED},)),
        "advised against": Sent(
            review(recommendation_type="negative", review_text=None),
            ({"ratings.0": ADVISED_AGAINST, "sensitive.text": None},),
        ),
        "a review taken back": Sent(
            review(verb="remove"), ({"removed": True, "sensitive.text": None, "revision": 1773134093004},)
        ),
        "comment on a review": Sent(
            change(field="ratings", open_graph_story_id="904801129604590"), ({**FIRST, "thread_id": "904801129604590"},)
        ),
        "instagram": Sent(instagram(), (ON_INSTAGRAM,)),
        "instagram live": Sent(instagram("live_comments"), (ON_INSTAGRAM,)),
        "instagram by business login": Sent(body(INSTAGRAM_ENTRY, about="instagram"), (ON_INSTAGRAM,)),
        "message": Sent(direct(), (IN_MESSENGER,)),
        "instagram message": Sent(direct("instagram"), ({**IN_MESSENGER, "channel": "instagram"},)),
        "message taken back": Sent(direct("instagram", is_deleted=True), ({"removed": True, "sensitive.text": None},)),
    },
    vector=Vector(
        secret="meta-app-secret-0",
        body=b'{"object":"page","entry":[]}',
        headers={"X-Hub-Signature-256": "sha256=4a8d16f6d0c6779db3324e9ed4e3a5e6f6becc6aa59c1e6a4665dad6b89f0325"},
    ),
    edit=(
        Sent(change(), (FIRST,)),
        Sent(
            change(verb="edited", message="It is here now.", time=1773134193), ({"sensitive.text": "It is here now."},)
        ),
    ),
    delete=(
        Sent(change(verb="edited", time=1773134193), ({"sensitive.text": TEXT},)),
        Sent(body(entry({**GONE, "verb": "remove"}, time=1773134193)), ({"removed": True, "sensitive.text": None},)),
    ),
    batch=Sent(
        body(
            entry(VALUE, {**VALUE, "from": {"id": PAGE}}, {**VALUE, "comment_id": "901097836652708_903438993085260"}),
            entry({**REVIEW, "rating": 3}, field="ratings"),
        ),
        (FIRST, FIRST, REVIEWED),
    ),
    skips={
        "own comment": Sent(change(**{"from": {"id": PAGE, "name": "Lale"}})),
        "no text": Sent(change(without="message")),
        "other item": Sent(change(item="reaction", reaction_type="love")),
        "other change": Sent(change(verb="block")),
        "other field": Sent(body(entry({}, field="parking"))),
        "other object": Sent(body(entry(VALUE), about="whatsapp_business_account")),
        "other event": Sent(body({"id": PAGE, "time": 1773134093, "standby": []})),
        "own message": Sent(direct(is_echo=True)),
        "test event": Sent(body(entry(VALUE, page="0"))),
    },
    handshakes=(
        Handshake(
            Answer(body=b"1158201444"),
            query={"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "key"},
        ),
    ),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({"object": "page", "entry": []}),
        Sent(body(entry({**VALUE, "comment_id": None}))),
        Sent(change(verb="remove", time=None)),
        Got({"id": USER}, (), IN_A_COMMENT),
        Got({"mentioned_comment": {"id": COMMENT, **SAID}}, (), IN_A_COMMENT),
    ),
)
