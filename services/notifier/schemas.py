"""What the API takes and gives."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.notifier.service import PlaysInForce
from shared.contracts.feedback_received import Band
from shared.contracts.followup_changed import Audience, FollowupState, Transport


class _FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Attempt(_FromRow):
    """One call, or the attempt to make one."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str = Field(description="sending, ok, refused, not sent, or unknown.")
    status: int | None = Field(description="HTTP status or SMTP code, where there was one.")
    detail: str | None


class Followup(_FromRow):
    """One message of a play."""

    id: UUID
    play: str
    play_version: str
    step: str
    audience: Audience
    transport: Transport
    template: str
    language: str
    band: Band | None
    feedback_id: UUID
    assignment_id: UUID | None
    customer_id: UUID | None
    state: FollowupState
    reason: str | None
    recipient: str | None
    attempts: int
    due_at: datetime
    next_at: datetime | None = Field(description="When it is looked at next; null: never again by itself.")
    created_at: datetime
    changed_at: datetime


class FollowupWithAttempts(Followup):
    """One message with its ledger."""

    ledger: list[Attempt]


class FollowupPage(BaseModel):
    """A page, newest first; `next` is the cursor of the page after it."""

    items: list[Followup]
    next: str | None


class StepSummary(BaseModel):
    """One step as it was read."""

    id: str
    after_seconds: float
    audience: Audience
    transport: list[Transport]
    template: str
    when: list[str]
    unless: list[str]


class PlaySummary(BaseModel):
    """One play as it was read."""

    id: str
    on: str
    when: list[str]
    max_age_seconds: float
    steps: list[StepSummary]


class Plays(BaseModel):
    """The plays in force."""

    version: str = Field(description="A number; `default` for the shipped ones; `file-…` for PLAYS_FILE.")
    created_at: datetime | None
    created_by: str | None
    content: str = Field(description="The file, in YAML.")
    plays: list[PlaySummary]


class NewDestination(BaseModel):
    """An address; `rotate_secret` makes the next secret of a webhook."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"address": "https://hooks.example.com/closeloop"}]}
    )

    address: str = Field(min_length=3, max_length=2048)
    rotate_secret: bool = False


class Destination(_FromRow):
    """Where an audience is told by one transport."""

    audience: Audience
    transport: Transport
    address: str
    changed_at: datetime


class DestinationWithSecret(Destination):
    """As set; `secret` verifies our webhooks (Standard Webhooks) and is shown here only."""

    secret: str | None


class Suppression(_FromRow):
    """An address that gets no follow-ups."""

    email: str
    reason: str
    created_at: datetime


class NewSuppression(BaseModel):
    """An address to leave in peace."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"email": "nora@example.com"}]})

    email: str = Field(min_length=3, max_length=254)


def followup_with_attempts(row: Any, attempts: list[Any]) -> FollowupWithAttempts:
    """A row and its ledger as one answer."""
    ledger = [Attempt.model_validate(attempt) for attempt in attempts]
    return FollowupWithAttempts(**Followup.model_validate(row).model_dump(), ledger=ledger)


def plays_answer(found: PlaysInForce) -> Plays:
    """Plays in force as an answer."""
    plays = [
        PlaySummary(
            id=play.id,
            on=play.trigger,
            when=[str(test) for test in play.when],
            max_age_seconds=play.max_age_seconds,
            steps=[
                StepSummary.model_validate(
                    {
                        "id": step.id,
                        "after_seconds": step.after_seconds,
                        "audience": step.audience,
                        "transport": list(step.transports),
                        "template": step.template,
                        "when": [str(test) for test in step.when],
                        "unless": [str(test) for test in step.unless],
                    }
                )
                for step in play.steps
            ],
        )
        for play in found.book.plays
    ]
    return Plays(
        version=found.version,
        created_at=found.created_at,
        created_by=found.created_by,
        content=found.content,
        plays=plays,
    )
