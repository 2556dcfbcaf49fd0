import copy
import json
from typing import Any

from services.ingest.sources.base import Wanted
from services.ingest.sources.samples import sample_answer
from tests.integration.ingest.connectors.cases import Cases, Got, Lacks, Sent

ANSWER = json.loads(sample_answer("youtube"))
WANTED = Wanted("new")


def thread(name: str = "Ugx1", *, replies: bool = False, **changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(ANSWER["items"][0])
    made["id"] = made["snippet"]["topLevelComment"]["id"] = name
    made["snippet"]["topLevelComment"]["snippet"] |= changed
    if not replies:
        del made["replies"]
    return made


FIRST = {
    "kind": "message",
    "channel": "youtube",
    "public": True,
    "thread_id": "Ugx1",
    "sensitive.text": "Mine came nine days late.",
    "sensitive.handle": "@nora",
    "sensitive.url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ&lc=Ugx1",
    "occurred_at": "2026-03-10T09:14:52Z",
}
REPLY = {
    "thread_id": "Ugx1",
    "sensitive.text": "Mine too!",
    "sensitive.handle": "@mert",
    "sensitive.url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ&lc=Ugx1.r2",
}
AT = 1773134092000
EDITED = thread(textOriginal="It is here now.", updatedAt="2026-03-11T09:00:00Z")

CASES = Cases(
    settings={"channel_id": "UCaaaaaaaaaaaaaaaaaaaaaa", "history_days": 3650},
    first=(FIRST, REPLY),
    wanted=WANTED,
    samples={
        "the first page of two": Got(
            {"items": [thread()], "nextPageToken": "p2"},
            (FIRST,),
            Wanted("new", {"after": AT, "known": {}}),
            {"after": AT, "known": {}, "fresh": {"Ugx1": AT}, "page": "p2"},
        ),
        "a new reply to a comment that is known": Got(
            ANSWER, (REPLY,), Wanted("new", {"after": AT, "known": {"Ugx1": AT, "Ugx1.r1": 1773135000000}})
        ),
    },
    vector=Lacks("YouTube tells nothing of comments: the list is looked at"),
    edit=(
        Got({"items": [thread()]}, (FIRST,), WANTED),
        Got(
            {"items": [EDITED]},
            ({"sensitive.text": "It is here now."},),
            Wanted("new", {"after": AT, "known": {"Ugx1": AT}}),
        ),
    ),
    delete=Lacks("a removed comment is not told, it is only missing in the list"),
    batch=Got({"items": [thread("a"), thread("b")]}, ({"thread_id": "a"}, {"thread_id": "b"}), WANTED),
    skips={"nothing is posted here": Sent({})},
    handshakes=Lacks("nothing is posted"),
    unreadable=(
        Got([], (), WANTED),
        Got({}, (), WANTED),
        Got({"items": [{}]}, (), WANTED),
        Got({"items": []}, (), WANTED),
    ),
)
