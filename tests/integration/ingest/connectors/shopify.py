import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("shopify").body)


def order(**changed: Any) -> dict[str, Any]:
    return {**BODY, **changed}


FIRST = {
    "purchased_at": "2026-03-09T11:20:04+03:00",
    "products.0": "Lale Home Lamp",
    "products.1": "Tea set",
    "total": 1249.9,
    "currency": "TRY",
    "language": "tr",
    "channel": "shop",
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "sensitive.identity": "7788990011",
}

CASES = Cases(
    first=(FIRST,),
    samples={
        "without a customer": Sent(
            order(customer=None, email="", phone=None), ({"customer_id": None, "total": 1249.9},)
        ),
        "refunded in part": Sent(order(financial_status="partially_refunded"), ({"currency": "TRY"},)),
    },
    vector=Vector(
        secret="shopify-client-secret",
        body=b'{"id":1,"financial_status":"paid"}',
        headers={"X-Shopify-Hmac-Sha256": "BxYky67h5wD+skJgJVrXUf23goAsdYQbBUyANmr4VFo="},
    ),
    edit=Lacks("an order is paid once; a repeat is the same purchase"),
    delete=Lacks("a refund does not undo that the customer bought"),
    batch=Lacks("one order a delivery"),
    skips={
        "other topic": Sent({"shop_id": 1}, headers={"X-Shopify-Topic": "customers/redact"}),
        "test order": Sent(order(test=True)),
        "not paid": Sent(order(financial_status="pending")),
    },
    handshakes=Lacks("Shopify posts without asking first"),
    unreadable=(Sent([]), Sent({}), Sent(order(id=None)), Sent(order(created_at=None, processed_at="soon"))),
)
