"""Reviews of an app on Google Play, 1 to 5 stars. There are no webhooks for them: the list is looked at (Android
Publisher API, `reviews.list`, which gives the reviews of the last week, the newest first).

The token is the JSON of a service account; a token signed with its key (RS256) is exchanged for one of Google's, good
for an hour. A review has `lastModified`, which is its revision. What is removed is not told.
"""

import json
import time
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import Field

from services.ingest.decoding import invalid
from services.ingest.sources import texts
from services.ingest.sources.base import Wanted, need_list, object_of, objects, word
from services.ingest.sources.fetching import Access, ApiUrl, Fetched, Request, answer_object
from services.ingest.sources.jwt import private_key, signed_token
from services.ingest.sources.polling import DAY_MS, Found, Poller, PollSettings, looked
from shared.core.errors import Fault

_SCOPE = "https://www.googleapis.com/auth/androidpublisher"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_VALID_SECONDS = 3600
_LEAST_SECONDS = 120.0
_LOOKBACK_MS = DAY_MS


class GooglePlaySettings(PollSettings):
    """One app."""

    package_name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+$", max_length=200)
    api_url: ApiUrl = "https://androidpublisher.googleapis.com"
    token_url: ApiUrl = Field(
        default="https://oauth2.googleapis.com/token", description="Where the service account gets its tokens."
    )
    requests_per_minute: float = Field(default=3, gt=0, le=6000, description="Most calls; Google allows 200 an hour.")


class GooglePlay(Poller):
    """The reviews of one app."""

    name: ClassVar[str] = "google_play"
    settings: ClassVar[type[GooglePlaySettings]] = GooglePlaySettings

    def check_token(self, token: str) -> None:
        """See FetchingConnector."""
        _account(token)

    def exchange(self, settings: GooglePlaySettings, token: str) -> Request:
        """See FetchingConnector. The settings say where, not the account: it may be somebody else's."""
        email, key = _account(token)
        now = int(time.time())
        times = {"iat": now, "exp": now + _VALID_SECONDS}
        assertion = signed_token({"iss": email, "scope": _SCOPE, "aud": settings.token_url, **times}, key)
        body = urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request(settings.token_url, headers, "POST", body)

    def exchanged(self, body: bytes) -> Access:
        """See FetchingConnector."""
        answer = answer_object(body)
        token, seconds = word(answer.get("access_token")), answer.get("expires_in")
        if not token or not token.isascii() or not token.isprintable():
            raise invalid([Fault("access_token", "is missing in the answer")])
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            seconds = _LEAST_SECONDS
        return Access(token, min(float(_VALID_SECONDS), max(_LEAST_SECONDS, seconds)))

    def request(self, settings: GooglePlaySettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector."""
        path = f"/androidpublisher/v3/applications/{settings.package_name}/reviews?maxResults=100"
        if page := wanted.detail.get("page"):
            path += f"&token={quote(page, safe='')}"
        return Request(settings.api_url + path, {"Authorization": f"Bearer {token}", "Accept": "application/json"})

    def fetched(self, settings: GooglePlaySettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector. An app without reviews has no list at all."""
        answer = answer_object(body)
        reviews = objects(need_list(answer.get("reviews", []), "reviews"))
        found = [_review(settings, review) for review in reviews]
        changed = [one.changed_ms for one in found if one.changed_ms is not None]
        page = word(object_of(answer.get("tokenPagination")).get("nextPageToken")) or None
        return looked(settings, wanted.detail, found, min(changed, default=None), page, lookback_ms=_LOOKBACK_MS)


def _review(settings: GooglePlaySettings, review: dict[str, Any]) -> Found:
    name = word(review.get("reviewId"))
    comments = (object_of(comment.get("userComment")) for comment in objects(review.get("comments")))
    said = next((comment for comment in comments if comment), {})
    changed = _millis(said.get("lastModified")) if name else None
    # The title stands before the text, a tab between them; most reviews have none.
    title, _, text = word(said.get("text")).rpartition("\t")
    item: dict[str, Any] = {
        "channel": "google_play",
        "public": True,
        "language": texts.language(said.get("reviewerLanguage")),
        **settings.constants(),
        "id": name,
        "revision": changed or 0,
        "kind": "message",
        "occurred_at": (changed or 0) / 1000,
        "ratings": [{"metric": "rating", "value": said.get("starRating"), "scale_min": 1, "scale_max": 5}],
        "title": title.strip() or None,
        "text": text.strip() or None,
        "customer": {"handle": texts.name(review.get("authorName"))},
    }
    return Found(name, changed, item)


def _millis(moment: Any) -> int | None:
    """Of {"seconds": "1773134092", "nanos": 318000000}."""
    seconds, nanos = object_of(moment).get("seconds"), object_of(moment).get("nanos", 0)
    text = str(seconds) if isinstance(seconds, int | str) and not isinstance(seconds, bool) else ""
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        return None
    fits = isinstance(nanos, int) and not isinstance(nanos, bool) and 0 <= nanos < 10**9
    return int(text) * 1000 + (nanos // 10**6 if fits else 0)


def _account(token: str) -> tuple[str, rsa.RSAPrivateKey]:
    """(e-mail of the service account, its key). Raises InvalidInput."""
    try:
        account = json.loads(token)
    except (ValueError, RecursionError):
        account = None
    email, pem = word(object_of(account).get("client_email")), word(object_of(account).get("private_key"))
    if not email or not pem:
        reason = "must be the JSON of a service account: with client_email and private_key"
        raise invalid([Fault("token", reason)])
    key = private_key(pem, rsa.RSAPrivateKey)
    assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - private_key has looked
    return email, key
