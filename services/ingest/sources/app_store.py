"""Reviews of an app in Apple's App Store, 1 to 5 stars. Apple has webhooks, but none for reviews: the list is looked at
(App Store Connect API, `/v1/apps/{id}/customerReviews`, newest first).

The token is the private key of an API key (a .p8 file); each call carries a token signed with it (ES256, at most 20
minutes). A review has no version, only `createdDate`: it is its revision, as an edited review has a new one
(unverified). What is removed is not told.
"""

import time
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field

from services.ingest.sources import texts
from services.ingest.sources.base import Wanted, need_list, object_of, objects, word
from services.ingest.sources.fetching import ApiUrl, Fetched, Request, answer_object
from services.ingest.sources.jwt import private_key, signed_token
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.polling import DAY_MS, Found, Poller, PollSettings, looked
from services.ingest.sources.revisions import millis_of

_FIELDS = FieldMap({"title": "title", "text": "body", "occurred_at": "createdDate"})
# Reviews appear when Apple has looked at them.
_LOOKBACK_MS = 2 * DAY_MS
_VALID_SECONDS = 600


class AppStoreSettings(PollSettings):
    """One app."""

    app_id: str = Field(pattern="^[0-9]{1,20}$", description="Apple's id of the app: the number in its address.")
    issuer_id: str = Field(pattern="^[0-9a-fA-F-]{36}$", description="Issuer id of your API keys.")
    key_id: str = Field(pattern="^[A-Z0-9]{1,20}$", description="Id of the API key.")
    api_url: ApiUrl = "https://api.appstoreconnect.apple.com"
    requests_per_minute: float = Field(default=30, gt=0, le=6000, description="Most calls; Apple allows 3,600 an hour.")


class AppStore(Poller):
    """The reviews of one app."""

    name: ClassVar[str] = "app_store"
    settings: ClassVar[type[AppStoreSettings]] = AppStoreSettings

    def check_token(self, token: str) -> None:
        """See FetchingConnector."""
        private_key(token, ec.EllipticCurvePrivateKey)

    def request(self, settings: AppStoreSettings, wanted: Wanted, token: str) -> Request:
        """See FetchingConnector."""
        key = private_key(token, ec.EllipticCurvePrivateKey)
        now = int(time.time())
        claims = {"iss": settings.issuer_id, "iat": now, "exp": now + _VALID_SECONDS, "aud": "appstoreconnect-v1"}
        url = f"{settings.api_url}/v1/apps/{settings.app_id}/customerReviews?sort=-createdDate&limit=100"
        if page := wanted.detail.get("page"):
            url += f"&cursor={quote(page, safe='')}"
        signed = signed_token(claims, key, kid=settings.key_id)
        return Request(url, {"Authorization": f"Bearer {signed}", "Accept": "application/json"})

    def fetched(self, settings: AppStoreSettings, wanted: Wanted, body: bytes) -> Fetched:
        """See FetchingConnector."""
        answer = answer_object(body)
        found = [_review(settings, one) for one in objects(need_list(answer.get("data"), "data"))]
        made = [one.changed_ms for one in found if one.changed_ms is not None]
        # Of the next page's address only the cursor counts: our token goes to no other host.
        following = parse_qs(_query(object_of(answer.get("links")).get("next"))).get("cursor")
        page = following[0] if following else None
        return looked(settings, wanted.detail, found, min(made, default=None), page, lookback_ms=_LOOKBACK_MS)


def _query(address: Any) -> str:
    try:
        return urlsplit(word(address)).query
    except ValueError:
        return ""


def _review(settings: AppStoreSettings, review: dict[str, Any]) -> Found:
    name, said = word(review.get("id")), object_of(review.get("attributes"))
    changed = millis_of(said.get("createdDate")) if name else None
    item: dict[str, Any] = {
        "channel": "app_store",
        "public": True,
        **settings.constants(),
        "id": name,
        "revision": changed or 0,
        "kind": "message",
        "customer": {"handle": texts.name(said.get("reviewerNickname"))},
        "ratings": [{"metric": "rating", "value": said.get("rating"), "scale_min": 1, "scale_max": 5}],
    }
    return Found(name, changed, _FIELDS.fill(item, said))
