import json
from typing import Any

from services.ingest.sources.base import Answer
from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Handshake, Sent, Vector

BODY: dict[str, Any] = json.loads(sample("intercom").body)
CONVERSATION: dict[str, Any] = BODY["data"]["item"]
SOURCE: dict[str, Any] = CONVERSATION["source"]
NORA = {"type": "user", "id": "5c9553cb27e377f2", "name": "Nora Whitfield", "email": "nora@example.com"}
PART: dict[str, Any] = {
    "type": "conversation_part",
    "id": "2824391734",
    "part_type": "comment",
    "body": "<p>It came today.</p><p>The shade is <b>cracked</b> &amp; dirty.</p>",
    "created_at": 1773134192,
    "updated_at": 1773134192,
    "author": NORA,
}


def notified(topic: str, at: int = 1773134195, **item: Any) -> dict[str, Any]:
    whole = {name: value for name, value in {**CONVERSATION, **item}.items() if value is not ...}
    return {**BODY, "topic": topic, "created_at": at, "data": {"type": "notification_event_data", "item": whole}}


def part(topic: str = "conversation.user.replied", at: int = 1773134195, **changed: Any) -> dict[str, Any]:
    return notified(topic, at, conversation_parts={"conversation_parts": [{**PART, **changed}]})


def rated(at: int, **changed: Any) -> dict[str, Any]:
    rating = {**CONVERSATION["conversation_rating"], **changed}
    return notified("conversation.rating.added", at, conversation_rating=rating)


FIRST = {
    "kind": "survey_response",
    "channel": "chat",
    "survey.id": "intercom-conversation-rating",
    "survey.type": "transactional",
    "ratings.0.metric": "csat",
    "ratings.0.value": 2,
    "ratings.0.scale_min": 1,
    "ratings.0.scale_max": 5,
    "sensitive.text": "Kind, but my lamp is still not here.",
    "sensitive.identity": "C-20911",
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": "https://app.intercom.com/a/apps/lale1234/conversations/215473812",
    "thread_id": "conversation/215473812",
    "revision": 1773134095000,
    "public": False,
    "occurred_at": "2026-03-10T09:14:52Z",
}
REPLY = {
    "kind": "message",
    "channel": "chat",
    "survey": None,
    "sensitive.text": "It came today.\nThe shade is cracked & dirty.",
    "sensitive.title": None,
    "sensitive.identity": "C-20911",
    "thread_id": "conversation/215473812",
    "revision": 1773134192000,
    "occurred_at": "2026-03-10T09:16:32Z",
}
# The form of 2019: the customer beside the conversation, the first message apart.
OLDER = {
    "source": ...,
    "contacts": ...,
    "conversation_rating": ...,
    "conversation_message": {
        "type": "conversation_message",
        "id": "331499307",
        "subject": "<p>Late</p>",
        "body": "<p>My lamp is late.</p>",
        "author": {"type": "user", "id": "5c9553cb27e377f2"},
    },
}
OLD_USER = {**NORA, "user_id": "C-20911"}
LEAD = {"type": "lead", "id": "5c9553cb27e377f2", "user_id": "75067020-1204", "name": "", "email": None}
OPENING = {
    "kind": "message",
    "sensitive.text": "My lamp is late.",
    "revision": 1773130000000,
    "occurred_at": "2026-03-10T08:06:40Z",
}
GONE = {**PART, "redacted": True}
BOT = {"id": "9", "author": {"type": "bot", "id": "1"}, "body": "<p>We reply soon.</p>"}
SCORED, REMARKED = rated(1773134095, remark=None), rated(1773134190)

CASES = Cases(
    settings={"own_users": ["test@lale.example", "C-1"]},
    first=(FIRST,),
    samples={
        "rating of an older version": Sent(
            notified(
                "conversation.rating.added",
                **{
                    **OLDER,
                    "user": OLD_USER,
                    "conversation_rating": {"rating": 5, "remark": None, "customer": {"id": "5c9553cb27e377f2"}},
                },
            ),
            ({"ratings.0.value": 5, "sensitive.identity": "C-20911", "sensitive.email": "nora@example.com"},),
        ),
        "reply": Sent(part(), (REPLY,)),
        "reply that opens again": Sent(part(part_type="open"), (REPLY,)),
        "first message": Sent(notified("conversation.user.created"), ({**OPENING, "sensitive.title": None},)),
        "first message by e-mail": Sent(
            notified("conversation.user.created", source={**SOURCE, "type": "email", "subject": "Late"}),
            ({**OPENING, "channel": "email", "sensitive.title": "Late"},),
        ),
        "first message of an older version": Sent(
            notified("conversation.user.created", **OLDER, user=OLD_USER),
            ({**OPENING, "sensitive.title": "Late", "sensitive.identity": "C-20911"},),
        ),
        "a lead without an address": Sent(
            notified("conversation.user.created", **OLDER, user=LEAD),
            ({**OPENING, "sensitive.handle": "5c9553cb27e377f2", "sensitive.identity": "chat:@5c9553cb27e377f2"},),
        ),
        "first message and a bot's answer": Sent(
            notified("conversation.user.created", conversation_parts={"conversation_parts": [BOT]}), (OPENING,)
        ),
        "a deleted first message": Sent(
            notified("conversation_part.redacted", source={**SOURCE, "redacted": True}),
            ({"removed": True, "sensitive.text": None},),
        ),
        "one of two deleted": Sent(
            notified(
                "conversation_part.redacted",
                conversation_parts={"conversation_parts": [GONE, {**PART, "id": "7", "redacted": False}]},
            ),
            ({"removed": True, "revision": 1773134195000},),
        ),
        "a deleted conversation": Sent(
            {**BODY, "topic": "conversation.deleted", "data": {"item": {"conversation_id": "215473812"}}},
            ({"removed": True, "sensitive.text": None, "ratings": []},),
        ),
        "rating by whoever is there": Sent(
            rated(1773134095, contact=None), ({"sensitive.identity": "C-20911", "sensitive.email": "nora@example.com"},)
        ),
        "rating of a conversation that the team began": Sent(
            notified(
                "conversation.rating.added", contacts=..., source={**SOURCE, "author": {"type": "admin", "id": "1"}}
            ),
            ({"sensitive.identity": "C-20911", "sensitive.email": None},),
        ),
    },
    vector=Vector(
        secret="lale-intercom-client-secret",
        body=b'{"type":"notification_event","topic":"ping"}',
        headers={"X-Hub-Signature": "sha1=fe8b3ee7f9756842ec4ea7d6676bef5bb89d1292"},
    ),
    edit=(
        Sent(SCORED, ({**FIRST, "sensitive.text": None},)),
        Sent(REMARKED, ({**FIRST, "revision": 1773134190000},)),
    ),
    delete=(
        Sent(part(), (REPLY,)),
        Sent(
            part("conversation_part.redacted", 1773134900, body="<p><i>This message was deleted</i></p>"),
            ({"removed": True, "sensitive.text": None, "revision": 1773134900000},),
        ),
    ),
    batch=Sent(
        notified("conversation.user.created", conversation_parts={"conversation_parts": [PART]}), (OPENING, REPLY)
    ),
    skips={
        "other topic": Sent(notified("conversation.admin.replied")),
        "not by a customer": Sent(part(author={"type": "admin", "id": "1957471"}, part_type="note")),
        "own message": Sent(part(author={"type": "user", "id": "42", "email": "Test@lale.example"})),
        "no text": Sent(part(body='<p><img src="https://cdn.example.com/lamp.png"></p>')),
    },
    handshakes=(
        Handshake(Answer(), method="POST", body={"type": "notification_event", "topic": "ping", "data": {"item": {}}}),
        Handshake(Answer(), method="HEAD"),
    ),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({"topic": []}),
        Sent({"topic": "conversation.user.replied"}),
        Sent(notified("conversation.user.replied")),
        Sent(notified("conversation.rating.added", conversation_rating=...)),
        Sent(rated(1773134095, rating=None)),
        Sent(rated(1773134095, rating=6)),
        Sent(notified("ticket.rating.provided")),
    ),
)
