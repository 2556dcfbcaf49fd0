import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("mastodon").body)
POST = BODY["object"]
ELSEWHERE = [{"id": "116200000000000077", "username": "sam", "acct": "sam@other.example"}]


def post(event: str = "status.created", **changed: Any) -> dict[str, Any]:
    return {**BODY, "event": event, "object": {**POST, **changed}}


def account(**changed: Any) -> dict[str, Any]:
    return {**POST["account"], **changed}


FIRST = {
    "kind": "message",
    "channel": "mastodon",
    "revision": 0,
    "thread_id": "116203340558812345",
    "public": True,
    "language": "en",
    "sensitive.title": None,
    "sensitive.text": "@lale The lamp came nine days late & the shade was cracked.\nWhat now?",
    "sensitive.handle": "nora_w",
    "sensitive.name": "Nora Whitfield",
    "sensitive.url": "https://social.example.com/@nora_w/116203340558812345",
    "occurred_at": "2026-03-10T09:14:52Z",
}
EDITED = post("status.updated", content="<p>It is here now.</p>", edited_at="2026-03-10T09:19:52.000Z")

CASES = Cases(
    settings={"own_accounts": ["@Lale", "lale_support"], "mentions": ["lale", "lale@other.example"]},
    first=(FIRST,),
    samples={
        "warning": Sent(post(spoiler_text="A complaint"), ({**FIRST, "sensitive.title": "A complaint"},)),
        "reply": Sent(post(in_reply_to_id="116203340000000001"), ({"thread_id": "116203340000000001"},)),
        "unlisted": Sent(post(visibility="unlisted"), ({"public": True},)),
        "to followers and us": Sent(post(visibility="private"), ({"public": False},)),
        "to us alone": Sent(post(visibility="direct"), ({**FIRST, "public": False},)),
        "a language of three letters": Sent(post(language="ckb"), ({"language": None},)),
        "a name with marks": Sent(post(account=account(display_name="Nora\u200f Whitfield")), (FIRST,)),
        "updated without an edit": Sent(post("status.updated"), (FIRST,)),
        "our account elsewhere": Sent(post(mentions=[{"acct": "lale@other.example"}]), (FIRST,)),
    },
    vector=Vector(
        secret="mastodon-webhook-secret",
        body=b'{"event":"status.created"}',
        headers={"X-Hub-Signature": "sha256=9a8856b769aeffb05b8426a20ae2901459d39d005fc71bb54b613b9b56217126"},
    ),
    edit=(
        Sent(BODY, (FIRST,)),
        Sent(EDITED, ({**FIRST, "sensitive.text": "It is here now.", "revision": 1773134392000},)),
    ),
    delete=Lacks("Mastodon has no event for a deleted post"),
    batch=Lacks("one post a delivery"),
    skips={
        "own post": Sent(post(account=account(acct="lale"))),
        "bot": Sent(post(account=account(bot=True))),
        "reblog": Sent(post(content="", reblog={"id": "116203340000000001"})),
        "mentions others": Sent(post(mentions=ELSEWHERE)),
        "private post to others": Sent(post(visibility="direct", mentions=ELSEWHERE)),
        "no text": Sent(post(content="")),
        "other event": Sent({**BODY, "event": "account.created", "object": {"id": "1"}}),
    },
    handshakes=Lacks("Mastodon posts without asking first"),
    unreadable=(
        Sent([]),
        Sent({}),
        Sent({"content": "Hello nora_w"}),
        Sent(post(id=None)),
        Sent(post("status.updated", edited_at="yesterday")),
    ),
)
