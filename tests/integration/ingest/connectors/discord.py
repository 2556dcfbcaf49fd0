import json
from typing import Any

from services.ingest.sources.base import Answer
from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Handshake, Lacks, Sent, Vector

TEXT = "The lamp came nine days late and the shade was cracked."
BODY = json.loads(sample("discord").body)
NORA = BODY["member"]["user"]
LOBBY = {
    "id": "1480856459804672002",
    "type": 0,
    "content": TEXT,
    "lobby_id": "1481000000000000005",
    "channel_id": "1481000000000000006",
    "author": NORA,
    "flags": 0,
}
DIRECT = {
    "id": "1480856463998976003",
    "content": "Where is my rug?",
    "channel_id": "1481000000000000007",
    "author": NORA,
}


def interaction(kind: int = 2, **data: Any) -> dict[str, Any]:
    return {**BODY, "type": kind, "data": {**BODY["data"], **data}}


def modal(*components: Any) -> dict[str, Any]:
    return {**BODY, "type": 5, "data": {"custom_id": "feedback", "components": list(components)}}


def event(kind: str, said: dict[str, Any], at: str = "2026-03-10T10:14:52.064834", **changed: Any) -> dict[str, Any]:
    inner = {"type": kind, "timestamp": at, "data": {**said, **changed}}
    return {"version": 1, "application_id": BODY["application_id"], "type": 1, "event": inner}


def answer(text: str) -> Answer:
    return Answer(body=text.encode(), content_type="application/json")


FIRST = {
    "kind": "message",
    "revision": 0,
    "removed": False,
    "channel": "discord",
    "public": False,
    "language": "en",
    "thread_id": None,
    "survey": None,
    "ratings": [],
    "sensitive.title": None,
    "sensitive.text": TEXT,
    "sensitive.handle": "nora_w",
    "sensitive.identity": "discord:@nora_w",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": None,
    "occurred_at": "2026-03-10T09:14:52Z",
}
IN_LOBBY = {
    **FIRST,
    "language": None,
    "thread_id": "lobby/1481000000000000005",
    "occurred_at": "2026-03-10T09:14:53Z",
}
GONE = {"removed": True, "sensitive.text": None}
THANKS = answer('{"type":4,"data":{"content":"Thanks from Lale ♥","flags":64}}')
FORM = answer(
    '{"type":9,"data":{"custom_id":"feedback","title":"How was it?","components":[{"type":18,"label":"How was it?",'
    '"component":{"type":4,"custom_id":"text","style":2,"required":true}}]}}'
)
LABELLED = {"type": 18, "id": 1, "component": {"type": 4, "id": 2, "custom_id": "text", "value": TEXT}}
ROW = {"type": 1, "components": [{"type": 4, "custom_id": "more", "value": "  And no lampshade.\n"}]}
CHOICE = {"type": 18, "component": {"type": 3, "custom_id": "topic", "values": ["lamps"]}}
NESTED = [{"name": "lamps", "type": 1, "options": [{"name": "stars", "type": 4, "value": 2}, *BODY["data"]["options"]]}]

CASES = Cases(
    settings={
        "own_users": ["1481000000000000010", "@lale_team"],
        "thanks": "Thanks from Lale ♥",
        "question": "How was it?",
    },
    first=(FIRST,),
    samples={
        "subcommand": Sent(interaction(options=NESTED), (FIRST,)),
        "form": Sent(modal(LABELLED, CHOICE), (FIRST,)),
        "form in rows": Sent(modal(LABELLED, ROW), ({"sensitive.text": f"{TEXT}\n\nAnd no lampshade."},)),
        "direct command": Sent({**BODY, "member": None, "user": NORA, "locale": None}, ({**FIRST, "language": None},)),
        "lobby": Sent(event("LOBBY_MESSAGE_CREATE", LOBBY), (IN_LOBBY,)),
        "reply": Sent(event("LOBBY_MESSAGE_CREATE", LOBBY, type=19), (IN_LOBBY,)),
        "direct": Sent(
            event("GAME_DIRECT_MESSAGE_CREATE", DIRECT),
            ({"sensitive.text": "Where is my rug?", "thread_id": "channel/1481000000000000007"},),
        ),
        "direct changed": Sent(
            event("GAME_DIRECT_MESSAGE_UPDATE", DIRECT, content="It is here."),
            ({"sensitive.text": "It is here.", "revision": 1773137692064},),
        ),
        "direct removed": Sent(event("GAME_DIRECT_MESSAGE_DELETE", DIRECT), (GONE,)),
    },
    vector=Vector(
        secret="614f8d594131269cc5f8617047226ba7534f3234f102f15f6ec5259fddbc26b5",
        body=b'{"version":1,"application_id":"1481000000000000001","type":0}',
        headers={
            "X-Signature-Timestamp": "1773134092",
            "X-Signature-Ed25519": "e82e1b7ac924256677e55201b6b69d83e68adee81cc497800c071297dc7e7cb2"
            "a2cc9fb3316656d5861b8d011e1964478066ca881e18084bbeeda7f16397170b",
        },
        now=1773134092,
    ),
    edit=(
        Sent(event("LOBBY_MESSAGE_CREATE", LOBBY), (IN_LOBBY,)),
        Sent(
            event("LOBBY_MESSAGE_UPDATE", LOBBY, content="Solved.", edited_timestamp="2026-03-10T10:14:52.038+00:00"),
            ({**IN_LOBBY, "revision": 1773137692038, "sensitive.text": "Solved."},),
        ),
    ),
    delete=(
        Sent(event("LOBBY_MESSAGE_UPDATE", LOBBY), ({"revision": 1773137692064, "removed": False},)),
        Sent(
            event("LOBBY_MESSAGE_DELETE", {"id": LOBBY["id"], "lobby_id": LOBBY["lobby_id"]}),
            ({**GONE, "thread_id": "lobby/1481000000000000005"},),
        ),
    ),
    batch=Lacks("one event or interaction a delivery"),
    skips={
        "bot": Sent(event("LOBBY_MESSAGE_CREATE", LOBBY, author={**NORA, "bot": True})),
        "own user": Sent(event("LOBBY_MESSAGE_CREATE", LOBBY, author={**NORA, "username": "Lale_Team"})),
        "notice": Sent(event("LOBBY_MESSAGE_CREATE", LOBBY, type=7)),
        "no text": Sent(event("LOBBY_MESSAGE_CREATE", LOBBY, content="")),
        "form opened": Sent(interaction(options=[])),
        "other command": Sent(interaction(name="roll")),
        "other interaction": Sent(interaction(3)),
        "other event": Sent(event("APPLICATION_AUTHORIZED", {"user": NORA})),
    },
    handshakes=(
        Handshake(
            Answer(204, headers={"content-type": "application/json"}),
            method="POST",
            body={"version": 1, "application_id": "1481000000000000001", "type": 0},
        ),
        Handshake(
            answer('{"type":1}'),
            method="POST",
            body={"version": 1, "application_id": "1481000000000000001", "id": "1", "token": "unused", "type": 1},
        ),
        Handshake(THANKS, method="POST", body=BODY),
        Handshake(THANKS, method="POST", body=modal(LABELLED)),
        Handshake(THANKS, method="POST", body=modal()),
        Handshake(THANKS, method="POST", body={**BODY, "member": {"user": {**NORA, "id": "1481000000000000010"}}}),
        Handshake(FORM, method="POST", body=interaction(options=[])),
    ),
    unreadable=(
        *(Sent([]), Sent({}), Sent({"type": "2"}), Sent(b"\xff")),
        Sent({**BODY, "id": "nora"}),
        Sent({"type": 1, "event": []}),
        Sent(event("LOBBY_MESSAGE_CREATE", {**LOBBY, "id": None})),
        Sent({"type": 1, "event": {"type": "LOBBY_MESSAGE_CREATE"}}),
    ),
)
