"""From what came in to `feedback.received.v1`: the one place that makes these events."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from services.ingest import domain
from services.ingest.inputs import FeedbackIn, RatingIn, SurveyIn, faults_of
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import (
    DEFAULT_FORMULAS,
    DEFAULT_SCALES,
    FeedbackReceivedV1,
    Rating,
    SensitiveFeedback,
    Survey,
)
from shared.core.errors import Fault


@dataclass(frozen=True, slots=True)
class Origin:
    """Where feedback comes from: the workspace is the authenticated key's or the source's, never the payload's."""

    workspace: str
    source: str
    connector: str


class Refused(Exception):
    """One item cannot become an event; `faults` say where and why, without its content."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path}: {fault.reason}" for fault in faults))
        self.faults = faults


def event_of(
    item: object,
    origin: Origin,
    received_at: datetime,
    *,
    fallback_id: str | None = None,
    at: tuple[str | int, ...] = (),
    traceparent: str | None = None,
) -> Event[FeedbackReceivedV1]:
    """The event of one decoded item. `fallback_id` names it where it has no id of its own, else its content does.

    Raises Refused with paths that begin `at`.
    """
    try:
        feedback = FeedbackIn.model_validate(item)
        object_id = feedback.id or fallback_id or content_id(item)
        data = _data(feedback, object_id, origin, received_at)
    except ValidationError as error:
        raise Refused(faults_of(error, *at)) from None
    return Event(
        id=domain.event_id(origin.workspace, origin.source, object_id, feedback.revision),
        source="closeloop/ingest",
        time=received_at,
        workspace=origin.workspace,
        correlation_id=data.feedback_id,
        causation_id=None,
        data=data,
        traceparent=traceparent,
    )


def content_id(item: object) -> str:
    """An id made of the content: what is sent again unchanged is the same."""
    text = json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return f"content:{hashlib.sha256(text.encode()).hexdigest()}"


def _data(feedback: FeedbackIn, object_id: str, origin: Origin, received_at: datetime) -> FeedbackReceivedV1:
    customer = feedback.customer
    identity = None
    if customer is not None:
        identity = domain.identity_of(**customer.identifying(), channel=feedback.channel)
    return FeedbackReceivedV1(
        feedback_id=domain.feedback_id(origin.workspace, origin.source, object_id),
        revision=feedback.revision,
        removed=feedback.removed,
        kind=feedback.kind or ("survey_response" if feedback.survey else "message"),
        occurred_at=feedback.occurred_at or received_at,
        received_at=received_at,
        source=origin.source,
        connector=origin.connector,
        channel=feedback.channel,
        touchpoint=feedback.touchpoint,
        department=feedback.department,
        product=feedback.product,
        segment=feedback.segment,
        survey=None if feedback.survey is None else survey_of(feedback.survey),
        ratings=_ratings(feedback),
        customer_id=None if identity is None else domain.customer_id(origin.workspace, identity),
        public=feedback.public,
        thread_id=feedback.thread_id,
        language=feedback.language,
        sensitive=SensitiveFeedback(
            identity=identity,
            name=customer.name if customer else None,
            email=customer.email if customer else None,
            phone=customer.phone if customer else None,
            handle=customer.handle if customer else None,
            title=feedback.title,
            text=feedback.text,
            url=feedback.url,
        ),
    )


def survey_of(survey: SurveyIn) -> Survey:
    """A survey as contracts name it."""
    return Survey(id=survey.id, type=survey.type, wave=survey.wave)


def _ratings(feedback: FeedbackIn) -> tuple[Rating, ...]:
    given = [_rating(rating) for rating in feedback.ratings]
    if feedback.score is not None and feedback.metric is not None:
        given.append(_rating(RatingIn(metric=feedback.metric, value=feedback.score)))
    return tuple(given)


def _rating(rating: RatingIn) -> Rating:
    low, high = DEFAULT_SCALES.get(rating.metric, (0.0, 0.0))
    return Rating(
        metric=rating.metric,
        value=rating.value,
        scale_min=low if rating.scale_min is None else rating.scale_min,
        scale_max=high if rating.scale_max is None else rating.scale_max,
        formula=rating.formula or DEFAULT_FORMULAS[rating.metric],
    )
