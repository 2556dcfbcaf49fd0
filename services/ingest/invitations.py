"""From what a survey programme says of its invitations to `invitation.changed.v1`."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from services.ingest import domain
from services.ingest.canonical import Origin, Refused, survey_of
from services.ingest.examples import INVITATION_EXAMPLE
from services.ingest.inputs import CustomerIn, Input, Moment, ObjectId, SurveyIn, faults_of
from shared.contracts.envelope import Event, Label
from shared.contracts.invitation_changed import InvitationChangedV1, InvitationStatus


class InvitationIn(Input):
    """What became of one invitation to a survey."""

    model_config = ConfigDict(json_schema_extra={"examples": [INVITATION_EXAMPLE]})

    id: ObjectId = Field(description="Your id of the invitation.", examples=["inv-20911"])
    status: InvitationStatus = Field(
        description="suppressed (not sent), delivered, bounced or completed. The furthest of them counts, in whatever "
        "order they are sent; the same one again is a repeat."
    )
    invited_at: Moment = Field(
        description="When it was sent, or would have been: the moment at which it counts.",
        examples=["2026-03-09T18:00:00Z"],
    )
    survey: SurveyIn
    channel: Label = Field(default="api", description="How it was sent: email, sms, app, …")
    touchpoint: Label | None = None
    department: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    customer: CustomerIn | None = Field(default=None, description="Read for the pseudonym; nothing of it is kept.")


def invitation_of(
    item: object,
    origin: Origin,
    received_at: datetime,
    *,
    fallback_id: str | None = None,
    at: tuple[str | int, ...] = (),
    traceparent: str | None = None,
) -> Event[InvitationChangedV1]:
    """The event of one decoded item, which has an id of its own. Raises Refused with paths that begin `at`."""
    del fallback_id
    try:
        invitation = InvitationIn.model_validate(item)
        data = _data(invitation, origin, received_at)
    except ValidationError as error:
        raise Refused(faults_of(error, *at)) from None
    return Event(
        id=domain.invitation_event_id(origin.workspace, origin.source, invitation.id, invitation.status),
        source="closeloop/ingest",
        time=received_at,
        workspace=origin.workspace,
        correlation_id=data.invitation_id,
        causation_id=None,
        data=data,
        traceparent=traceparent,
    )


def _data(invitation: InvitationIn, origin: Origin, received_at: datetime) -> InvitationChangedV1:
    given: dict[str, Any] = invitation.model_dump(include={"channel", "touchpoint", "department", "product", "segment"})
    customer = invitation.customer
    identity = None if customer is None else domain.identity_of(**customer.identifying(), channel=invitation.channel)
    return InvitationChangedV1(
        **given,
        invitation_id=domain.invitation_id(origin.workspace, origin.source, invitation.id),
        status=invitation.status,
        invited_at=invitation.invited_at,
        received_at=received_at,
        source=origin.source,
        connector=origin.connector,
        survey=survey_of(invitation.survey),
        customer_id=None if identity is None else domain.customer_id(origin.workspace, identity),
    )
