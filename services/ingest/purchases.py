"""From an order of a shop to `customer.purchased.v1`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from services.ingest import domain
from services.ingest.canonical import Origin, Refused
from services.ingest.inputs import CustomerIn, Input, Language, Moment, Number, ObjectId, faults_of
from shared.contracts.customer_purchased import CustomerPurchasedV1, SensitivePurchase
from shared.contracts.envelope import Event, Label

_PRODUCTS = 50


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


class PurchaseIn(Input):
    """One paid order, as connectors give it."""

    id: ObjectId
    purchased_at: Moment
    channel: Label = "shop"
    touchpoint: Label | None = None
    department: Label | None = None
    segment: Label | None = None
    products: tuple[Label, ...] = Field(default=(), max_length=_PRODUCTS)
    total: Annotated[Number, Field(ge=0)] | None = None
    currency: Annotated[str, BeforeValidator(_upper), StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    customer: CustomerIn | None = None
    language: Language | None = None


def purchase_of(
    item: object,
    origin: Origin,
    received_at: datetime,
    *,
    at: tuple[str | int, ...] = (),
    traceparent: str | None = None,
) -> Event[CustomerPurchasedV1]:
    """The event of one order. Raises Refused with paths that begin `at`."""
    try:
        purchase = PurchaseIn.model_validate(item)
        data = _data(purchase, origin, received_at)
    except ValidationError as error:
        raise Refused(faults_of(error, *at)) from None
    return Event(
        id=domain.purchase_event_id(origin.workspace, origin.source, purchase.id),
        source="closeloop/ingest",
        time=received_at,
        workspace=origin.workspace,
        correlation_id=data.purchase_id,
        causation_id=None,
        data=data,
        traceparent=traceparent,
    )


def _data(purchase: PurchaseIn, origin: Origin, received_at: datetime) -> CustomerPurchasedV1:
    names = {"channel", "touchpoint", "department", "segment", "products", "total", "currency", "language"}
    customer = purchase.customer or CustomerIn()
    identity = domain.identity_of(**customer.identifying(), channel=purchase.channel)
    return CustomerPurchasedV1(
        **purchase.model_dump(include=names),
        purchase_id=domain.purchase_id(origin.workspace, origin.source, purchase.id),
        purchased_at=purchase.purchased_at,
        received_at=received_at,
        source=origin.source,
        connector=origin.connector,
        customer_id=None if identity is None else domain.customer_id(origin.workspace, identity),
        sensitive=SensitivePurchase(identity=identity, name=customer.name, email=customer.email, phone=customer.phone),
    )
