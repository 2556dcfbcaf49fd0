"""`customer.purchased.v1`: an order was paid. What surveys after a purchase begin with."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from shared.contracts.envelope import AwareDatetime, EventData, Label, Part, Text
from shared.contracts.topics import CUSTOMER_PURCHASED, Topic


class SensitivePurchase(Part):
    """All that identifies a person."""

    identity: Text | None = Field(
        default=None, description="What the source calls this customer: an e-mail, an account number."
    )
    name: Text | None = None
    email: Text | None = None
    phone: Text | None = None


class CustomerPurchasedV1(EventData):
    """One order, once it is paid; told again, it is the same event."""

    event_type: ClassVar[str] = "dev.closeloop.customer.purchased.v1"
    topic: ClassVar[Topic] = CUSTOMER_PURCHASED

    purchase_id: UUID
    purchased_at: AwareDatetime
    received_at: AwareDatetime
    source: Label
    connector: Label
    channel: Label
    touchpoint: Label | None = None
    department: Label | None = None
    segment: Label | None = None
    products: tuple[Label, ...] = Field(default=(), max_length=50)
    total: Annotated[float, Field(ge=0)] | None = Field(default=None, description="In units of `currency`.")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = Field(default=None, description="ISO 4217.")
    customer_id: UUID | None = Field(
        default=None, description="Pseudonym: the same person in a workspace has the same id."
    )
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = Field(
        default=None, description="ISO 639-1: what the customer chose at the shop."
    )
    sensitive: SensitivePurchase = SensitivePurchase()

    @override
    def key(self) -> str:
        """The customer where known, else the purchase."""
        return str(self.customer_id or self.purchase_id)
