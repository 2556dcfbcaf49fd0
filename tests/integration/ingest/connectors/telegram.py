import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

MESSAGE = json.loads(sample("telegram").body)["message"]
NORA, TEXT = MESSAGE["from"], MESSAGE["text"]
GROUP = {"id": -1001234567890, "type": "supergroup", "title": "Lale customers", "username": "lalecustomers"}
CHANNEL = {"id": -1009876543210, "type": "channel", "title": "Lale"}


def update(kind: str = "message", without: str = "", **changed: Any) -> dict[str, Any]:
    said = {name: value for name, value in MESSAGE.items() if name != without}
    return {"update_id": 418820017, kind: {**said, **changed}}


FIRST = {
    "kind": "message",
    "channel": "telegram",
    "revision": 0,
    "thread_id": "5551234567",
    "public": False,
    "language": "en",
    "sensitive.text": TEXT,
    "sensitive.handle": "5551234567",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": None,
    "occurred_at": "2026-03-10T09:14:52Z",
}
IN_GROUP = {
    **FIRST,
    "thread_id": "-1001234567890",
    "public": True,
    "sensitive.url": "https://t.me/lalecustomers/1365",
}

CASES = Cases(
    settings={"own_users": ["@Lale_Support", "7770001"]},
    first=(FIRST,),
    samples={
        "group": Sent(update(chat=GROUP), (IN_GROUP,)),
        "topic of a group": Sent(update(chat=GROUP, message_thread_id=12), ({"thread_id": "-1001234567890/12"},)),
        "group without a name": Sent(
            update(chat={**GROUP, "username": None}), ({"public": True, "sensitive.url": None},)
        ),
        "caption": Sent(update(without="text", caption="Cracked.", photo=[]), ({"sensitive.text": "Cracked."},)),
        "no command": Sent(update(text="/ the shade is cracked"), ({"sensitive.text": "/ the shade is cracked"},)),
        "a language of three letters": Sent(
            update(**{"from": {**NORA, "language_code": "fil"}}), ({"language": None},)
        ),
        "a language with its country": Sent(
            update(**{"from": {**NORA, "language_code": "pt-br"}}), ({"language": "pt"},)
        ),
        "one name": Sent(
            update(**{"from": {"id": 5551234567, "first_name": "Nora\u200e"}}), ({"sensitive.name": "Nora"},)
        ),
        "somebody else in a channel": Sent(update("channel_post", chat=CHANNEL), ({"thread_id": "-1009876543210"},)),
    },
    vector=Vector(
        secret="telegram_secret-token_41d0",
        body=b'{"update_id":418820017}',
        headers={"X-Telegram-Bot-Api-Secret-Token": "telegram_secret-token_41d0"},
    ),
    edit=(
        Sent(update(), (FIRST,)),
        Sent(
            update("edited_message", text="It is here now.", edit_date=1773134192),
            ({**FIRST, "sensitive.text": "It is here now.", "revision": 1773134192000},),
        ),
    ),
    delete=Lacks("Telegram does not tell a bot that a message was deleted"),
    batch=Lacks("one update a delivery"),
    skips={
        "bot": Sent(update(**{"from": {**NORA, "is_bot": True}})),
        "own message": Sent(update(chat=GROUP, **{"from": {**NORA, "id": 1, "username": "lale_support"}})),
        "command": Sent(update(text="/start")),
        "no text": Sent(update(without="text", sticker={"emoji": "👍"})),
        "channel's own post": Sent(update("channel_post", without="from", chat=CHANNEL, sender_chat=CHANNEL)),
        "other update": Sent({"update_id": 418820018, "message_reaction": {"chat": GROUP, "message_id": 1365}}),
    },
    handshakes=Lacks("Telegram posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({"update_id": 1, "message": "text"}),
        Sent(update("edited_message")),
        Sent(update(without="message_id")),
    ),
)
