"""Comments below the videos of a YouTube channel, and replies of others to them. YouTube tells of new videos, not of
comments: the list is looked at (Data API v3, `commentThreads.list`, newest threads first).

The token is an API key, sent as a header so that it stands in no address. `updatedAt` is the revision. Edits and
replies are found in threads of the last week; a thread comes with some of its replies only (five, it is said). What is
removed is not told.
"""

from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field

from services.ingest.sources import texts
from services.ingest.sources.base import Wanted, need_list, object_of, objects, word
from services.ingest.sources.fetching import ApiUrl, Fetched, Request, answer_object
from services.ingest.sources.polling import DAY_MS, Found, Poller, PollSettings, looked
from services.ingest.sources.revisions import millis_of

_LOOKBACK_MS = 7 * DAY_MS
# A hundred threads with their replies may be more than an answer may hold.
_PAGE = 40


class YouTubeSettings(PollSettings):
    """One channel. What it says itself is no feedback."""

    channel_id: str = Field(pattern="^UC[A-Za-z0-9_-]{22}$", description="Id of the channel: UC and 22 characters.")
    own_channels: tuple[str, ...] = Field(default=(), description="Ids of your other channels.")
    api_url: ApiUrl = "https://www.googleapis.com"
    requests_per_minute: float = Field(
        default=30, gt=0, le=6000, description="Most calls; Google allows 10,000 a day, together with your others."
    )


class YouTube(Poller):
    """The comments of one channel."""

    name: ClassVar[str] = "youtube"
    settings: ClassVar[type[YouTubeSettings]] = YouTubeSettings

    def request(self, settings: YouTubeSettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector."""
        query = {
            "part": "snippet,replies",
            "allThreadsRelatedToChannelId": settings.channel_id,
            "order": "time",
            "textFormat": "plainText",
            "maxResults": _PAGE,
        }
        if page := wanted.detail.get("page"):
            query["pageToken"] = page
        url = f"{settings.api_url}/youtube/v3/commentThreads?{urlencode(query)}"
        return Request(url, {"X-Goog-Api-Key": token, "Accept": "application/json"})

    def fetched(self, settings: YouTubeSettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector."""
        answer = answer_object(body)
        found: list[Found] = []
        made: list[int] = []
        for thread in objects(need_list(answer.get("items"), "items")):
            first = object_of(object_of(thread.get("snippet")).get("topLevelComment"))
            published = millis_of(word(object_of(first.get("snippet")).get("publishedAt")))
            made += [] if published is None else [published]
            found += _comments(settings, word(thread.get("id")), first, thread)
        page = word(answer.get("nextPageToken")) or None
        return looked(settings, wanted.detail, found, min(made, default=None), page, lookback_ms=_LOOKBACK_MS)


def _comments(
    settings: YouTubeSettings, thread_id: str, first: dict[str, Any], thread: dict[str, Any]
) -> Iterator[Found]:
    own = {settings.channel_id, *settings.own_channels}
    for comment in (first, *objects(object_of(thread.get("replies")).get("comments"))):
        name, said = word(comment.get("id")), object_of(comment.get("snippet"))
        changed = millis_of(word(said.get("updatedAt") or said.get("publishedAt"))) if name else None
        author = word(object_of(said.get("authorChannelId")).get("value"))
        item = None if author in own else _item(settings, name, changed, thread_id, said)
        yield Found(name, changed, item)


def _item(
    settings: YouTubeSettings, name: str, changed: int | None, thread_id: str, said: dict[str, Any]
) -> dict[str, Any]:
    video = word(said.get("videoId"))
    return {
        "channel": "youtube",
        "public": True,
        **settings.constants(),
        "id": name,
        "revision": changed or 0,
        "kind": "message",
        "occurred_at": said.get("publishedAt"),
        "text": said.get("textOriginal") or said.get("textDisplay"),
        "customer": {"handle": texts.name(said.get("authorDisplayName"))},
        "thread_id": thread_id or None,
        "url": f"https://www.youtube.com/watch?{urlencode({'v': video, 'lc': name})}" if video else None,
    }
