import json
from typing import Any

from services.ingest.sources.base import Answer
from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Handshake, Sent, Vector

BODY = json.loads(sample("x").body)
POST = BODY["tweet_create_events"][0]
FULL = "@lalehome The lamp came nine days late & the shade was cracked. I wrote twice, nobody answered."
NORA = {"id": "1180009987654321152", "name": "Nora Whitfield", "screen_name": "nora_w"}


def post(without: str = "", **changed: Any) -> dict[str, Any]:
    return {**BODY, "tweet_create_events": [{**{k: v for k, v in POST.items() if k != without}, **changed}]}


def deletion(user_id: str = NORA["id"], **changed: Any) -> dict[str, Any]:
    status = {"id": POST["id_str"], "user_id": user_id, **changed}
    return {"for_user_id": "2244994945", "tweet_delete_events": [{"status": status, "timestamp_ms": "1773134692083"}]}


def direct(sender: str = NORA["id"], text: str = "Where is my lamp?", **changed: Any) -> dict[str, Any]:
    made = {"target": {"recipient_id": "2244994945"}, "sender_id": sender, "message_data": {"text": text}}
    event = {"type": "message_create", "id": "1954948849", "created_timestamp": "1773134092603", "message_create": made}
    users = {NORA["id"]: NORA}
    return {"for_user_id": "2244994945", "direct_message_events": [{**event, **changed}], "users": users}


FIRST = {
    "kind": "message",
    "channel": "x",
    "revision": 0,
    "thread_id": "1924465506158878979",
    "public": True,
    "language": "en",
    "sensitive.text": FULL,
    "sensitive.handle": "nora_w",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": "https://x.com/nora_w/status/1924465506158878979",
    "occurred_at": "2026-03-10T09:14:52Z",
}
DIRECT = {
    "kind": "message",
    "channel": "x",
    "thread_id": "2244994945/1180009987654321152",
    "public": False,
    "language": None,
    "sensitive.text": "Where is my lamp?",
    "sensitive.handle": "nora_w",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": None,
    "occurred_at": "2026-03-10T09:14:52.603000Z",
}
EDITED = post(
    id_str="1924465506158879999",
    edit_history={"initial_tweet_id": POST["id_str"], "edit_tweet_ids": [POST["id_str"], "1924465506158879999"]},
    created_at="Tue Mar 10 09:19:52 +0000 2026",
    extended_tweet={"full_text": "It is here now."},
)

CASES = Cases(
    settings={"own_users": ["@LaleTurkiye", "3300000001"]},
    first=(FIRST,),
    samples={
        "short": Sent(post(without="extended_tweet", text="3 &lt; 4"), ({**FIRST, "sensitive.text": "3 < 4"},)),
        "reply": Sent(post(in_reply_to_status_id_str="1924465506158800001"), ({"thread_id": "1924465506158800001"},)),
        "never edited": Sent(post(edit_history={"initial_tweet_id": POST["id_str"]}), (FIRST,)),
        "protected": Sent(post(user={**POST["user"], "protected": True}), ({"public": False},)),
        "long numbers, in text and out of it": Sent(
            post(without="extended_tweet", text='"id": 1924465506158879000, {', at=[-1924465506158879000, 0.5]),
            ({**FIRST, "sensitive.text": '"id": 1924465506158879000, {'},),
        ),
        "no language": Sent(post(lang="und"), ({"language": None},)),
        "an old name of a language": Sent(post(lang="in"), ({"language": "id"},)),
        "direct message": Sent(direct(), (DIRECT,)),
        "direct message of a stranger": Sent(direct("9000000001"), ({"sensitive.handle": "9000000001"},)),
    },
    vector=Vector(
        secret="x-oauth2-client-secret",
        body=b'{"for_user_id":"2244994945"}',
        headers={"X-Twitter-Webhooks-Signature-OAuth2": "sha256=I9BraSClJ/R3IKKdrTgf9/oz01ojd/f5/mb94j14OqU="},
    ),
    edit=(Sent(BODY, (FIRST,)), Sent(EDITED, ({"sensitive.text": "It is here now.", "revision": 1773134392000},))),
    delete=(
        Sent(EDITED, ({"revision": 1773134392000},)),
        Sent(deletion(), ({"removed": True, "sensitive.text": None, "revision": 1773134692083},)),
    ),
    batch=Sent(
        {**BODY, "tweet_create_events": [POST, {**POST, "id_str": "1924465506158879111", "lang": None}]},
        (
            FIRST,
            {
                **FIRST,
                "language": None,
                "thread_id": "1924465506158879111",
                "sensitive.url": "https://x.com/nora_w/status/1924465506158879111",
            },
        ),
    ),
    skips={
        "own post": Sent(post(user={"id_str": "2244994945", "screen_name": "lalehome"})),
        "retweet": Sent(post(retweeted_status={"id_str": "1924465506158800001"})),
        "no text": Sent(post(without="extended_tweet", text="")),
        "own message": Sent(direct("3300000001")),
        "other event": Sent(
            {"for_user_id": "2244994945", "favorite_events": [{"id": "a7ba59eab0bfcba386f7acedac279542"}]}
        ),
    },
    handshakes=(
        Handshake(
            Answer(
                body=b'{"response_token":"sha256=x7siY4dz4HD6ECrGs366l/8qTMy0/wxoT45YsEt9Md4="}',
                content_type="application/json",
            ),
            query={"crc_token": "MDM5ZGM3NTctZmQ1OC00MzUyLWFmNjMtZmE2YzQ4ZjkwOGRm"},
            secret="x-oauth2-client-secret",
        ),
    ),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({"data": {"event_type": "post.create"}}),
        Sent({"tweet_create_events": [POST]}),
        Sent(post(without="id_str")),
        Sent(deletion(id=None)),
    ),
)
