import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("reddit").body)
COMMENT = {
    "id": "t1_1lale02",
    "parentId": "t3_1lale01",
    "postId": "t3_1lale01",
    "body": "> Is it only mine?\n\nMine too. 3 < 4 weeks late.",
    "author": "t2_defne1",
    "createdAt": 1773134152000,
    "lastModifiedAt": 0,
    "deleted": False,
    "languageCode": "",
    "permalink": "/r/lale/comments/1lale01/cracked_shade_again/1lale02/",
}
DEFNE = {"id": "t2_defne1", "name": "defne_a", "accountType": 1}


def post(kind: str = "PostCreate", **changed: Any) -> dict[str, Any]:
    return {**BODY, "type": kind, "post": {**BODY["post"], **changed}}


def comment(kind: str = "CommentCreate", **changed: Any) -> dict[str, Any]:
    return {**BODY, "type": kind, "comment": {**COMMENT, **changed}, "author": DEFNE}


def by(**author: Any) -> dict[str, Any]:
    return {**BODY, "author": {**BODY["author"], **author}}


def deleted(subject: str, **ids: str) -> dict[str, Any]:
    sources = {
        "source": 1,
        "reason": 1,
        "deletedAt": "2026-03-10T10:00:00.000Z",
        "createdAt": "2026-03-10T09:14:52.000Z",
    }
    return {"type": f"{subject}Delete", **ids, **sources, "author": BODY["author"], "subreddit": BODY["subreddit"]}


FIRST = {
    "kind": "message",
    "revision": 0,
    "removed": False,
    "channel": "reddit",
    "public": True,
    "language": "en",
    "thread_id": "t3_1lale01",
    "survey": None,
    "ratings": [],
    "sensitive.title": "Cracked shade, again",
    "sensitive.text": "The lamp came nine days late and the shade was cracked.\n\nIs it only mine?",
    "sensitive.handle": "nora_whitfield",
    "sensitive.identity": "reddit:@nora_whitfield",
    "sensitive.name": None,
    "sensitive.email": None,
    "sensitive.url": "https://www.reddit.com/r/lale/comments/1lale01/cracked_shade_again/",
    "occurred_at": "2026-03-10T09:14:52Z",
}
SECOND = {
    "kind": "message",
    "language": None,
    "thread_id": "t3_1lale01",
    "sensitive.title": None,
    "sensitive.text": "Mine too. 3 < 4 weeks late.",
    "sensitive.handle": "defne_a",
    "sensitive.url": "https://www.reddit.com/r/lale/comments/1lale01/cracked_shade_again/1lale02/",
    "occurred_at": "2026-03-10T09:15:52Z",
}
GONE = {"removed": True, "sensitive.title": None, "sensitive.text": None}
EDITED = comment("CommentUpdate", body="Mine too; they sent a new one.", lastModifiedAt=1773137752000)

CASES = Cases(
    settings={"own_users": ["u/Lale_Support"], "bots": ["AutoModerator", "lale-greeter"]},
    first=(FIRST,),
    samples={
        "submit": Sent(post("PostSubmit"), (FIRST,)),
        "comment": Sent(comment(), (SECOND,)),
        "comment submitted, ids without their kind": Sent(
            comment("CommentSubmit", id="1lale02", postId="1lale01"), (SECOND,)
        ),
        "comment changed": Sent(
            EDITED, ({"revision": 1773137752000, "sensitive.text": "Mine too; they sent a new one."},)
        ),
        "comment removed": Sent(
            deleted("Comment", commentId="t1_1lale02", postId="t3_1lale01", parentId="t3_1lale01"),
            ({**GONE, "thread_id": "t3_1lale01", "occurred_at": "2026-03-10T09:14:52Z"},),
        ),
        "removed before it came": Sent(comment(body="[removed]"), (GONE,)),
        "of a deleted account": Sent(
            {**deleted("Post", postId="t3_1lale01"), "author": {"name": "[deleted]"}}, ({**GONE, "customer_id": None},)
        ),
        "link": Sent(post(selftext=""), ({"sensitive.title": "Cracked shade, again", "sensitive.text": None},)),
        "spoiler": Sent(comment(body=">!It cracked!<"), ({"sensitive.text": ">!It cracked!<"},)),
        "private community": Sent({**BODY, "subreddit": {"name": "lale", "type": 4}}, ({"public": False},)),
        "times in seconds, whole address": Sent(
            post(createdAt=1773134092, permalink="https://www.reddit.com/r/lale/comments/1lale01/cracked_shade_again/"),
            (FIRST,),
        ),
    },
    vector=Vector(
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body=b'{"test": 2432232314}',
        headers={
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1614265330,
    ),
    edit=(
        Sent(post(), (FIRST,)),
        Sent(
            post("PostUpdate", selftext="They sent a new one.", updatedAt=1773137692000),
            ({**FIRST, "revision": 1773137692000, "sensitive.text": "They sent a new one."},),
        ),
    ),
    delete=(
        Sent(post("PostUpdate", updatedAt=1773137692000), ({"removed": False},)),
        Sent(deleted("Post", postId="t3_1lale01"), (GONE,)),
    ),
    batch=Lacks("the relay posts each event of a trigger by itself"),
    skips={
        "bot": Sent(by(name="automoderator")),
        "own user": Sent(by(name="lale_support")),
        "other event": Sent(post("PostReport")),
        "without its post or comment": Sent({"type": "CommentCreate", "author": DEFNE}),
        "no text of its own": Sent(comment(body="> Is it only mine?")),
    },
    handshakes=Lacks("the relay is ours and asks nothing"),
    unreadable=(
        *(Sent([]), Sent({}), Sent({"type": 1}), Sent(b"\xff")),
        Sent({"type": "PostDelete"}),
        Sent(post(id=None)),
        Sent(post(permalink="no address")),
        Sent(by(accountType=3)),
    ),
)
