"""Trustpilot reviews of the company (service reviews) and of its products.

Trustpilot documents no signature: only the address of the source proves a delivery, so it is kept like a secret.
The documented body has no time of an edit. `updatedAt`, as Trustpilot's API writes it, is taken where it comes
(unverified); without it an edit counts as made when it arrives. What a product review says stands in `content`, its
customer may have an e-mail address, and its `state` says whether others can see it (all secondary).
"""

import re
from typing import Any, ClassVar

from services.ingest.sources import texts
from services.ingest.sources.base import (
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    need_list,
    object_of,
    word,
)
from services.ingest.sources.mapping import FieldMap
from services.ingest.sources.proof import Address, Credential
from services.ingest.sources.revisions import later
from shared.auth.signatures import Signed

_EVENT = re.compile(r"(service|product)-review-(created|updated|deleted)")
_REVIEW_ID = re.compile(r"[0-9a-f]{24}")
_LABEL = 80


class Trustpilot(Connector):
    """The reviews of a company, or of its products."""

    name: ClassVar[str] = "trustpilot"
    proof: ClassVar[Credential] = Address()
    fields: ClassVar[FieldMap] = FieldMap(
        {
            "id": "id",
            "occurred_at": "createdAt",
            "customer.handle": "consumer.id",
            "customer.name": "consumer.name",
            "customer.email": "consumer.email",
        }
    )

    def parse(self, settings: SourceSettings, message: Signed) -> Parsed:
        """See Connector."""
        parsed = Parsed()
        for event in need_list(json_object(message).get("events"), "events"):
            if not isinstance(event, dict):
                parsed.items.append(event)  # validation names it, and the others go on
                continue
            kind = _EVENT.fullmatch(word(event.get("eventName")))
            if kind is None:
                parsed.skipped["other event"] += 1
            else:
                parsed.items.append(self._item(settings, kind[1], kind[2], object_of(event.get("eventData"))))
        return parsed

    def _item(self, settings: SourceSettings, subject: str, action: str, review: dict[str, Any]) -> dict[str, Any]:
        item = self.fields.fill(settings.constants(), review)
        item |= {"kind": "message", "removed": action == "deleted", "revision": _revision(action, review)}
        item.setdefault("id", "")  # an id made of the content would make each edit another review
        item.setdefault("channel", "trustpilot")
        item.setdefault("public", review.get("state") in (None, "published"))
        if action == "deleted":
            return item
        item |= {
            "ratings": [{"metric": "rating", "value": review.get("stars"), "scale_min": 1, "scale_max": 5}],
            "title": review.get("title"),
            "text": review.get("text") or review.get("content"),
            "url": _url(subject, review),
        }
        if language := texts.language(review.get("language")):
            item.setdefault("language", language)
        if product := word(object_of(review.get("product")).get("name")).strip():
            item.setdefault("product", product[:_LABEL])
        return item


def _revision(action: str, review: dict[str, Any]) -> int:
    if action == "created":
        return 0
    return later(1) if action == "deleted" else later(0, review.get("updatedAt"))


def _url(subject: str, review: dict[str, Any]) -> Any:
    """Where people read it; `link` is an address of Trustpilot's API, which wants a key."""
    number = word(review.get("id"))
    if subject == "service" and _REVIEW_ID.fullmatch(number):
        return f"https://www.trustpilot.com/reviews/{number}"
    return review.get("link")
