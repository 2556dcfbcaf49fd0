import json
from typing import Any

from services.ingest.sources.samples import sample
from tests.integration.ingest.connectors.cases import Cases, Lacks, Sent, Vector

BODY = json.loads(sample("stripe").body)
CHARGE = BODY["data"]["object"]


def event(kind: str, **changed: Any) -> dict[str, Any]:
    return {**BODY, "type": kind, "data": {"object": {**CHARGE, **changed}}}


FIRST = {
    "purchased_at": "2026-03-10T09:14:50Z",
    "total": 49.5,
    "currency": "USD",
    "channel": "shop",
    "sensitive.email": "nora@example.com",
    "sensitive.name": "Nora Whitfield",
    "sensitive.identity": "cus_LALE0000000001",
}
SESSION = {"payment_status": "paid", "amount_total": 4950, "billing_details": None, "locale": "fa"}

SIGNATURE = "e605cefed6ac911d2664b951b6dfbff6f4784baed67709f9b040290f0da8c6c9"

CASES = Cases(
    first=(FIRST,),
    samples={
        "whole units": Sent(
            event("charge.succeeded", currency="jpy", amount=4950), ({"total": 4950, "currency": "JPY"},)
        ),
        "checkout": Sent(
            event("checkout.session.completed", **SESSION, customer_details={"email": "ali@example.com"}),
            ({"total": 49.5, "language": "fa", "sensitive.email": "ali@example.com"},),
        ),
        "intent": Sent(event("payment_intent.succeeded", amount_received=100, billing_details={}), ({"total": 1.0},)),
        "invoice": Sent(event("invoice.paid", amount_paid=0, customer_email="ali@example.com"), ({"total": 0.0},)),
    },
    vector=Vector(
        secret="whsec_stripe_endpoint_secret",
        body=b'{"type":"charge.succeeded"}',
        headers={"Stripe-Signature": f"t=1773134092,v1={SIGNATURE},v0=00"},
        now=1773134092,
    ),
    edit=Lacks("a payment succeeds once; its other events are the same purchase"),
    delete=Lacks("a refund does not undo that the customer bought"),
    batch=Lacks("one event a delivery"),
    skips={
        "other event": Sent(event("customer.created")),
        "not paid": Sent(event("checkout.session.completed", payment_status="unpaid")),
    },
    handshakes=Lacks("Stripe posts without asking first"),
    unreadable=(Sent([]), Sent({}), Sent({"type": "charge.succeeded"}), Sent({"type": "charge.succeeded", "data": {}})),
)
