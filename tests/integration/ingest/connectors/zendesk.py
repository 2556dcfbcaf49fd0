import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY: dict[str, Any] = json.loads(sample("zendesk").body)
DETAIL: dict[str, Any] = BODY["detail"]
NORA = {"id": "8447388090494", "is_staff": False, "name": "Nora Whitfield"}
COMMENT: dict[str, Any] = {"id": "8523417371518", "body": "Any news?", "is_public": True, "author": NORA}
TRIGGERED: dict[str, Any] = {
    "kind": "closeloop.csat",
    "ticket_id": "5158",
    "score": "good",
    "comment": "",
    "updated_at": "2026-03-12T10:05Z",
    "requester": {"id": "8447388090494", "email": "nora@example.com", "name": "Nora Whitfield"},
}


def event(kind: str, at: str = "2026-03-10T09:14:53Z", data: Any = None, **detail: Any) -> dict[str, Any]:
    more = {} if data is None else {"event": data}
    return {**BODY, "type": f"zen:event-type:{kind}", "time": at, "detail": {**DETAIL, **detail}, **more}


def comment(kind: str = "comment_added", at: str = "2026-03-11T08:00:00Z", **changed: Any) -> dict[str, Any]:
    return event(f"ticket.{kind}", at, {"comment": {**COMMENT, **changed}})


def rated(**score: Any) -> dict[str, Any]:
    return event("ticket.csat_received", "2026-03-12T10:05:30Z", {"satisfaction_score": score})


def triggered(**changed: Any) -> dict[str, Any]:
    return {**TRIGGERED, **changed}


FIRST = {
    "kind": "message",
    "channel": "email",
    "thread_id": "ticket/5158",
    "public": False,
    "survey": None,
    "ratings": [],
    "removed": False,
    "revision": 1773134093120,
    "sensitive.title": "My lamp is cracked",
    "sensitive.text": "It came nine days late and the shade was cracked.",
    "sensitive.identity": "8447388090494",
    "sensitive.email": None,
    "sensitive.url": "https://lale.zendesk.com/agent/tickets/5158",
    "occurred_at": "2026-03-10T09:14:52Z",
}
ADDED = {
    "kind": "message",
    "channel": "email",
    "thread_id": "ticket/5158",
    "sensitive.text": "Any news?",
    "sensitive.title": None,
    "sensitive.name": "Nora Whitfield",
    "sensitive.identity": "8447388090494",
    "occurred_at": "2026-03-11T08:00:00Z",
}
GOOD = {
    "kind": "survey_response",
    "channel": "email",
    "survey.id": "zendesk-csat",
    "survey.type": "transactional",
    "ratings.0.metric": "csat",
    "ratings.0.value": 5,
    "ratings.0.scale_min": 1,
    "ratings.0.scale_max": 5,
    "thread_id": "ticket/5158",
    "sensitive.identity": "8447388090494",
    "sensitive.text": None,
}
NO_DETAIL = {name: value for name, value in comment().items() if name != "detail"}
GONE = {"removed": True, "sensitive.text": None, "sensitive.title": None}

CASES = Cases(
    settings={
        "site_url": "https://lale.zendesk.com",
        "own_users": ["900", "qa@lale.example"],
        "scores": {"Good": 5, "bad": 1},
    },
    first=(FIRST,),
    samples={
        "comment": Sent(comment(), (ADDED,)),
        "comment without a detail": Sent(NO_DETAIL, ({**ADDED, "channel": "web"},)),
        "comment of the requester by id": Sent(
            comment(author={"id": "8447388090494"}), ({"sensitive.text": "Any news?"},)
        ),
        "comment of a copied customer": Sent(
            comment(author={"id": 9, "is_staff": False, "name": "Ali"}), ({"sensitive.identity": "9"},)
        ),
        "ticket from a form": Sent(event("ticket.created", via={"channel": "WEB"}), ({"channel": "web"},)),
        "ticket of another channel": Sent(
            event("ticket.created", via={"channel": "native_messaging"}), ({"channel": "chat"},)
        ),
        "rating": Sent(rated(score="BAD"), ({**GOOD, "ratings.0.value": 1, "occurred_at": "2026-03-12T10:05:30Z"},)),
        "rating with a comment": Sent(
            rated(score=4, comment="Fine."), ({"ratings.0.value": 4, "sensitive.text": "Fine."},)
        ),
        "rating by trigger": Sent(
            triggered(),
            (
                {
                    **GOOD,
                    "sensitive.email": "nora@example.com",
                    "occurred_at": "2026-03-12T10:05:00Z",
                    "revision": 1773309900000,
                },
            ),
        ),
        "rating by trigger as a number": Sent(triggered(score="3"), ({"ratings.0.value": 3},)),
        "comment made private": Sent(comment("comment_made_private", is_public=False), (GONE,)),
        "comment redacted": Sent(comment("comment_redacted", author={}), (GONE,)),
        "redacted description": Sent(
            event("ticket.description_changed", "2026-03-10T09:20:00Z", description="It came ▇▇▇▇ days late."),
            ({**FIRST, "sensitive.text": "It came ▇▇▇▇ days late.", "revision": 1773134400000},),
        ),
        "ticket brought back": Sent(event("ticket.undeleted", "2026-03-11T10:00:00Z"), ({"removed": False},)),
        "spam": Sent(event("ticket.marked_as_spam", "2026-03-11T09:00:00Z"), (GONE,)),
    },
    vector=Vector(
        secret="dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
        body=(
            b"{\n"
            b'\t"type": "zen:event-type:user.group_membership_created",\n'
            b'\t"account_id": 12514403,\n'
            b'\t"id": "6b9bbadf-5725-4e92-bebe-7b71011bf5f1",\n'
            b'\t"subject": "zen:user:6596848315901",\n'
            b'\t"time": "2099-07-04T05:33:18Z",\n'
            b'\t"zendesk_event_version": "2022-06-20",\n'
            b'\t"detail": {\n'
            b'\t\t"created_at": "2099-07-04T05:27:58Z",\n'
            b'\t\t"default_group_id": "0",\n'
            b'\t\t"email": "user.name@example.com",\n'
            b'\t\t"external_id": "",\n'
            b'\t\t"id": "6596848315901",\n'
            b'\t\t"organization_id": "0",\n'
            b'\t\t"role": "end-user",\n'
            b'\t\t"updated_at": "2099-07-04T05:33:18Z"\n'
            b"\t},\n"
            b'\t"event": { "group": { "id": "1" } }\n'
            b"}\n"
        ),
        headers={
            "X-Zendesk-Webhook-Signature": "10IqYzYTLHRftNsNE+im0DeOM6/JactIRuy0XCHJ9B8=",
            "X-Zendesk-Webhook-Signature-Timestamp": "1234",
        },
        now=1234,
    ),
    edit=(
        Sent(triggered(), (GOOD,)),
        Sent(triggered(comment='"Nine days is long."'), ({**GOOD, "sensitive.text": "Nine days is long."},)),
    ),
    delete=(Sent(BODY, (FIRST,)), Sent(event("ticket.soft_deleted", "2026-03-11T09:00:00Z"), (GONE,))),
    batch=Lacks("one event a delivery"),
    skips={
        "other event": Sent(event("messaging.message_created")),
        "opened for the requester": Sent(event("ticket.created", submitter_id="8447388090495")),
        "internal note": Sent(comment(is_public=False)),
        "comment of the team": Sent(comment(author={"id": "8447388090495", "is_staff": True})),
        "first comment": Sent(comment(body=DETAIL["description"])),
        "no text": Sent(comment(body="")),
        "own message": Sent(event("ticket.created", submitter_id="900", requester_id="900")),
        "not rated yet": Sent(triggered(score="offered")),
    },
    handshakes=Lacks("Zendesk posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({"kind": "closeloop.csat"}),
        Sent({"type": "zen:event-type:ticket.created", "subject": "zen:ticket:5158"}),
        Sent({"type": "zen:event-type:ticket.comment_added", "subject": "zen:ticket:5158"}),
        Sent({"type": "zen:event-type:ticket.csat_received", "subject": "zen:ticket:5158"}),
        Sent({"type": "zen:event-type:ticket.soft_deleted", "subject": []}),
        Sent(triggered(score="Good, I'm satisfied")),
        Sent(triggered(score=6)),
        Sent(triggered(score="")),
        Sent(triggered(updated_at="May 18")),
        Sent(triggered(requester={"email": "qa"})),
    ),
)
