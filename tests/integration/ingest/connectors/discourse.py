from services.ingest.sources.base import Answer
from tests.integration.ingest.bodies import DISCOURSE, DISCOURSE_SETTINGS, post
from tests.integration.ingest.connectors.cases import Cases, Handshake, Lacks, Sent, Vector

CREATED, EDITED = {"X-Discourse-Event": "post_created"}, {"X-Discourse-Event": "post_edited"}
DESTROYED = {"X-Discourse-Event": "post_destroyed"}
FIRST = {
    "kind": "message",
    "channel": "forum",
    "thread_id": "topic/77",
    "public": True,
    "department": "support",
    "product": "Lale Home Lamp",
    "sensitive.title": "Cracked shade",
    "sensitive.text": "Mine came cracked, 3 < 4 weeks late.",
    "sensitive.handle": "nora_w",
    "sensitive.url": "https://forum.example.com/t/cracked-shade/77/1",
    "occurred_at": "2026-03-10T09:14:52Z",
}

SIGNATURE = "1e20f28eb3d00b136db265e36eadf273701ce3240176f8c931df68d777c2161f"

CASES = Cases(
    settings=DISCOURSE_SETTINGS,
    first=(FIRST,),
    vector=Vector(
        secret="discourse-webhook-secret",
        body=b'{"ping":"OK"}',
        headers={"X-Discourse-Event-Signature": f"sha256={SIGNATURE}"},
    ),
    edit=(
        Sent(DISCOURSE, (FIRST,), CREATED),
        Sent(post(version=2, raw="Solved."), ({"sensitive.text": "Solved."},), EDITED),
    ),
    delete=(
        Sent(DISCOURSE, (FIRST,), CREATED),
        Sent(
            post(version=1, deleted_at="2026-03-11T10:00:00Z"), ({"removed": True, "sensitive.text": None},), DESTROYED
        ),
    ),
    batch=Lacks("one post a delivery"),
    skips={
        "own post": Sent(post(username="lale_team"), headers=CREATED),
        "system post": Sent(post(user_id=-1), headers=CREATED),
        "staff post": Sent(post(staff=True), headers=CREATED),
        "no regular post": Sent(post(post_type=3), headers=CREATED),
        "post_liked": Sent(DISCOURSE, headers={"X-Discourse-Event": "post_liked"}),
        "topic_created": Sent({"topic": {"id": 77}}, headers={"X-Discourse-Event": "topic_created"}),
        "user": Sent({"user": {"id": 1}}),
    },
    handshakes=(Handshake(Answer(), method="POST", body={"ping": "OK"}),),
)
