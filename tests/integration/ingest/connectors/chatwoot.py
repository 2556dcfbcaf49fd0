import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

TEXT = "The lamp came nine days late and the shade was cracked."
BODY = json.loads(sample("chatwoot").body)
CONVERSATION = BODY["conversation"]


def message(event: str = "message_created", **changed: Any) -> dict[str, Any]:
    return {**BODY, "event": event, **changed}


def conversation(**changed: Any) -> dict[str, Any]:
    return {**CONVERSATION, **changed}


def by(**contact: Any) -> dict[str, Any]:
    return conversation(meta={"sender": {**CONVERSATION["meta"]["sender"], **contact}})


def rated(answer: Any, at: str) -> dict[str, Any]:
    return message(
        "message_updated",
        id=130,
        content="Please rate this conversation",
        message_type="template",
        content_type="input_csat",
        content_attributes={"submitted_values": {"csat_survey_response": answer}} if answer else {},
        sender=None,
        conversation=conversation(messages=[{"id": 130, "updated_at": at}], updated_at=None),
    )


FIRST = {
    "kind": "message",
    "revision": 0,
    "removed": False,
    "channel": "chat",
    "public": False,
    "language": "en",
    "thread_id": "conversation/10",
    "survey": None,
    "ratings": [],
    "sensitive.title": None,
    "sensitive.text": TEXT,
    "sensitive.name": "Nora Whitfield",
    "sensitive.email": "nora@example.com",
    "sensitive.phone": "+905320000000",
    "sensitive.handle": "chatwoot/1/14",
    "sensitive.identity": "nora@example.com",
    "occurred_at": "2026-03-10T09:14:52Z",
}
RATED = {
    "kind": "survey_response",
    "revision": 1773137692500,
    "channel": "chat",
    "survey.id": "csat",
    "survey.type": "transactional",
    "thread_id": "conversation/10",
    "ratings.0.metric": "csat",
    "ratings.0.value": 2,
    "ratings.0.scale_min": 1,
    "ratings.0.scale_max": 5,
    "sensitive.text": None,
    "sensitive.email": "nora@example.com",
    "occurred_at": "2026-03-10T10:14:52.500000Z",
}
VISITOR = {"name": "little-haze-776", "email": None, "phone_number": None}
NAMELESS = {
    "sensitive.identity": "chat:@chatwoot/1/14",
    "sensitive.name": "little-haze-776",
    "sensitive.email": None,
}
GONE = {"removed": True, "sensitive.text": None}
LATER = conversation(messages=[{"id": 119, "updated_at": "2026-03-10T12:00:00Z"}], updated_at=1773137692.25)
DELETED = message("message_updated", content="This message was deleted", content_attributes={"deleted": True})

CASES = Cases(
    settings={"own_contacts": ["Defne@example.com", "staff-7"]},
    first=(FIRST,),
    samples={
        "rated": Sent(rated({"rating": 2}, "2026-03-10T10:14:52.500Z"), (RATED,)),
        "rated, then a word": Sent(
            rated({"rating": 2, "feedback_message": "Nobody called."}, "2026-03-10T10:15:20Z"),
            ({"revision": 1773137720000, "ratings.0.value": 2, "sensitive.text": "Nobody called."},),
        ),
        "visitor": Sent(message(conversation=by(**VISITOR)), (NAMELESS,)),
        "known to the shop": Sent(message(conversation=by(identifier="C-20911")), ({"sensitive.identity": "C-20911"},)),
        "whatsapp": Sent(message(conversation=conversation(channel="Channel::Whatsapp")), ({"channel": "whatsapp"},)),
        "language of the words": Sent(
            message(
                conversation=conversation(
                    additional_attributes={"conversation_language": "tr", "browser_language": "en"}
                )
            ),
            ({"language": "tr"},),
        ),
        "time of older versions": Sent(message(created_at="2026-03-10 09:14:52 UTC"), (FIRST,)),
        "without its conversation": Sent(
            message(conversation=None),
            ({"thread_id": None, "sensitive.name": "Nora Whitfield", "sensitive.email": None},),
        ),
        "not the last one": Sent(
            message("message_updated", content="Solved.", conversation=LATER), ({"revision": 1773137692250},)
        ),
    },
    vector=Vector(
        secret="chatwoot-webhook-secret",
        body=b'{"event":"conversation_created","id":7}',
        headers={
            "X-Chatwoot-Timestamp": "1773134092",
            "X-Chatwoot-Signature": "sha256=748ad8b056fa9ad6aed1a514d5a5931850f3cebcc01b1931e303d6503bcb76cf",
        },
        now=1773134092,
    ),
    edit=(
        Sent(message(), (FIRST,)),
        Sent(
            message("message_updated", content="Solved."),
            ({**FIRST, "revision": 1773134092152, "sensitive.text": "Solved."},),
        ),
    ),
    delete=(Sent(message("message_updated"), ({"removed": False},)), Sent(DELETED, (GONE,))),
    batch=Lacks("one message a delivery"),
    skips={
        "private note": Sent(message(private=True, message_type="outgoing")),
        "own message": Sent(message(message_type="outgoing", sender={"id": 1, "name": "Defne", "type": "user"})),
        "own contact": Sent(message(conversation=by(email="defne@example.com"))),
        "bot": Sent(message(sender={"id": 3, "name": "Lamp bot", "type": "agent_bot"})),
        "notice": Sent(message(message_type="activity", content="Conversation was resolved")),
        "no text": Sent(message(content=None)),
        "question": Sent(rated(None, "2026-03-10T10:14:52Z")),
        "other event": Sent({**CONVERSATION, "event": "conversation_status_changed"}),
    },
    handshakes=Lacks("Chatwoot posts without asking first"),
    unreadable=(
        *(Sent([]), Sent({}), Sent({"event": 1}), Sent(b"\xff")),
        Sent(message(id=None)),
        Sent(message(conversation=by(email="no address"))),
        Sent(rated({"feedback_message": "Nobody called."}, "2026-03-10T10:15:20Z")),
        Sent(rated({"rating": 9}, "2026-03-10T10:15:20Z")),
    ),
)
