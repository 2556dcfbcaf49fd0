"""Shopify orders that were paid, for surveys after a purchase. Signature: `X-Shopify-Hmac-Sha256` = base64 HMAC-SHA256
over the raw body with the app's client secret (secondary sources).

The topic stands in a header that is not signed, so an order counts as paid by what its body says. Shopify takes a
webhook away after eight failures in a row, and wants an answer within 5 seconds.
"""

from typing import Any, ClassVar

from services.ingest.decoding import invalid
from services.ingest.sources.base import (
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    need_id,
    object_of,
    objects,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

_PAID = {"paid", "partially_refunded"}
_PRODUCTS = 50
_NAME_LENGTH = 80


class Shopify(Connector):
    """A shop."""

    name: ClassVar[str] = "shopify"
    proof: ClassVar[Credential] = Scheme(header="X-Shopify-Hmac-Sha256", encoding="base64")
    success: ClassVar[int] = 200
    reads: ClassVar[tuple[str, ...]] = ("x-shopify-topic",)

    def parse(self, settings: SourceSettings, message: Signed) -> Parsed:
        """See Connector. The three topics that the law demands of every app (customers/data_request, customers/redact,
        shop/redact) are answered like any other that is left out: ids of orders tell nobody here who somebody is."""
        body = json_object(message)
        order = object_of(body.get("order")) or body  # the form of the REST API, which apps relay
        topic = message.headers.get("x-shopify-topic", "")
        if topic and not topic.startswith("orders/"):
            return skipped("other topic")
        if "line_items" not in order and "financial_status" not in order:
            raise invalid([Fault("$", "is no order: it has neither line_items nor financial_status")])
        if order.get("test") is True:
            return skipped("test order")
        if word(order.get("financial_status")) not in _PAID or order.get("cancelled_at"):
            return skipped("not paid")
        return Parsed(purchases=[_purchase(settings, order)])


def _purchase(settings: SourceSettings, order: dict[str, Any]) -> dict[str, Any]:
    buyer = object_of(order.get("customer"))
    names = [word(buyer.get("first_name")), word(buyer.get("last_name"))]
    customer = {
        "email": word(order.get("email")) or word(buyer.get("email")) or None,
        "phone": word(order.get("phone")) or word(buyer.get("phone")) or None,
        "name": " ".join(filter(None, names)) or None,
        "id": str(buyer["id"]) if isinstance(buyer.get("id"), int) else None,
    }
    constants = settings.constants()
    purchase: dict[str, Any] = {
        name: constants[name] for name in ("channel", "touchpoint", "department", "segment") if name in constants
    }
    purchase |= {
        "id": need_id(order.get("id"), "id"),
        "purchased_at": order.get("processed_at") or order.get("created_at"),
        "products": [word(line.get("title")).strip()[:_NAME_LENGTH] for line in objects(order.get("line_items"))][
            :_PRODUCTS
        ],
        "total": order.get("total_price"),
        "currency": order.get("currency"),
        "customer": {name: value for name, value in customer.items() if value},
        "language": settings.language or word(order.get("customer_locale")) or None,
    }
    purchase["products"] = [product for product in purchase["products"] if product]
    return purchase
