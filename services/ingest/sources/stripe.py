"""Stripe payments that succeeded, for surveys after a purchase. Signature: `Stripe-Signature: t=…,v1=…`, hex
HMAC-SHA256 over `t.body`; several `v1` while a secret is rolled (secondary sources), `v0` is ignored, five minutes of
tolerance.
"""

from typing import Any, ClassVar

from services.ingest.decoding import invalid
from services.ingest.sources.base import (
    Connector,
    Parsed,
    SourceSettings,
    json_object,
    need_id,
    need_object,
    object_of,
    skipped,
    word,
)
from services.ingest.sources.proof import Credential
from shared.auth.signatures import Scheme, Signed
from shared.core.errors import Fault

# Event → the field that holds what was paid. One payment raises several of these: the ids below make them one purchase.
_PAID = {
    "charge.succeeded": "amount",
    "payment_intent.succeeded": "amount_received",
    "checkout.session.completed": "amount_total",
    "invoice.paid": "amount_paid",
}
# Currencies without a smaller unit: their amounts are whole. https://docs.stripe.com/currencies
_WHOLE = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"]
)


class Stripe(Connector):
    """An account."""

    name: ClassVar[str] = "stripe"
    proof: ClassVar[Credential] = Scheme(
        header="Stripe-Signature",
        prefix="v1=",
        signed=("{timestamp}", ".", "{body}"),
        timestamp_prefix="t=",
        separator=",",
        tolerance_seconds=300,
    )
    success: ClassVar[int] = 200

    def parse(self, settings: SourceSettings, message: Signed) -> Parsed:
        """See Connector."""
        event = json_object(message)
        kind = word(event.get("type"))
        if not kind:
            raise invalid([Fault("type", "is missing: this is no event of Stripe")])
        if kind not in _PAID:
            return skipped("other event")
        paid = need_object(need_object(event.get("data"), "data").get("object"), "data.object")
        if kind == "checkout.session.completed" and paid.get("payment_status") != "paid":
            return skipped("not paid")
        return Parsed(purchases=[_purchase(settings, event, paid, paid.get(_PAID[kind]))])


def _purchase(settings: SourceSettings, event: dict[str, Any], paid: dict[str, Any], amount: Any) -> dict[str, Any]:
    person = object_of(paid.get("billing_details")) or object_of(paid.get("customer_details"))
    currency = word(paid.get("currency")).lower()
    whole = isinstance(amount, int) and not isinstance(amount, bool)
    customer = {
        "email": word(person.get("email")) or word(paid.get("receipt_email")) or word(paid.get("customer_email")),
        "phone": word(person.get("phone")),
        "name": word(person.get("name")),
        "id": word(paid.get("customer")),
    }
    constants = settings.constants()
    purchase: dict[str, Any] = {
        name: constants[name] for name in ("channel", "touchpoint", "department", "segment") if name in constants
    }
    return purchase | {
        "id": need_id(paid.get("payment_intent") or paid.get("id"), "data.object.id"),
        "purchased_at": paid.get("created") or event.get("created"),
        "products": [settings.product] if settings.product else [],
        "total": (amount if currency in _WHOLE else amount / 100) if whole else amount,
        "currency": currency or None,
        "customer": {name: value for name, value in customer.items() if value},
        "language": settings.language or word(paid.get("locale")) or None,
    }
