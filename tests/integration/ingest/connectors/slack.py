from typing import Any

from services.ingest.sources.base import Answer
from tests.integration.ingest.connectors.cases import Cases, Handshake, Lacks, Sent, Vector

TEXT = "The lamp came nine days late and the shade was cracked."
MESSAGE = {"type": "message", "channel": "C0CUSTOMERS", "user": "U0NORA", "text": TEXT, "ts": "1773134092.000200"}


def event(**changed: Any) -> dict[str, Any]:
    return {"type": "event_callback", "event_id": "Ev1", "event": {**MESSAGE, **changed}}


FIRST = {
    "kind": "message",
    "channel": "slack",
    "thread_id": "C0CUSTOMERS/1773134092.000200",
    "sensitive.text": TEXT,
    "sensitive.handle": "U0NORA",
    "occurred_at": "2026-03-10T09:14:52.000200Z",
}
CHANGED = event(
    subtype="message_changed",
    message={**MESSAGE, "text": "It is here now.", "edited": {"user": "U0NORA", "ts": "1773134192.000000"}},
    event_ts="1773134192.000300",
    ts="1773134192.000300",
)
DELETED = event(
    subtype="message_deleted",
    deleted_ts=MESSAGE["ts"],
    previous_message=MESSAGE,
    event_ts="1773134292.000300",
    ts="1773134292.000300",
)

CASES = Cases(
    settings={"own_users": ["U0LALE"]},
    first=(FIRST,),
    samples={
        "mention": Sent(event(type="app_mention"), (FIRST,)),
        "reply": Sent(
            event(thread_ts="1773134000.000100", ts="1773134092.000200"),
            ({"thread_id": "C0CUSTOMERS/1773134000.000100"},),
        ),
    },
    vector=Vector(
        secret="8f742231b10e8888abcd99yyyzzz85a5",
        body=b'{"type":"event_callback"}',
        headers={
            "X-Slack-Request-Timestamp": "1773134092",
            "X-Slack-Signature": "v0=4b7b9ec17dcaf15ca01caf7b35d451bb40efb3fae057c555124eaa537f1093d2",
        },
        now=1773134092,
    ),
    edit=(Sent(event(), (FIRST,)), Sent(CHANGED, ({"sensitive.text": "It is here now."},))),
    delete=(Sent(event(), (FIRST,)), Sent(DELETED, ({"removed": True, "sensitive.text": None},))),
    batch=Lacks("one event a delivery"),
    skips={
        "bot": Sent(event(bot_id="B1")),
        "own message": Sent(event(user="U0LALE")),
        "no message of a person": Sent(event(subtype="channel_join")),
        "other event": Sent({"type": "app_rate_limited", "minute_rate_limited": 1518467820}),
    },
    handshakes=(
        Handshake(
            Answer(body=b"3eZbrw1aB"),
            method="POST",
            body={"type": "url_verification", "token": "x", "challenge": "3eZbrw1aB"},
        ),
    ),
)
