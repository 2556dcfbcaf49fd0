"""HTTP: alerts, the latest first."""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.scoring.repository.alerts import Alert
from services.scoring.service import ScoringService
from shared.auth.keys import Principal, Role
from shared.contracts.envelope import AwareDatetime
from shared.contracts.score_alerted import Contributor
from shared.contracts.score_updated import Interval, Series
from shared.core.clock import rfc3339
from shared.core.errors import Fault, InvalidInput
from shared.http.authentication import Authenticator

_READERS = (Role.MANAGER, Role.AGENT, Role.OPERATOR)


class AlertModel(BaseModel):
    """An alert with its evidence, as it was raised. `contributors` did most of it: points of the change."""

    id: UUID
    series: Series
    name: str
    kind: Literal["drop", "rise", "target_lost", "silence"]
    raised_at: AwareDatetime
    ended_at: AwareDatetime | None = Field(description="null while it lasts.")
    value: float | None = None
    n: int
    interval: Interval | None = None
    days: int | None = None
    previous_value: float | None = None
    previous_n: int | None = None
    previous_days: int | None = None
    p_value: float | None = None
    target: float | None = None
    contributors: list[Contributor] = []


class AlertList(BaseModel):
    """A page of alerts."""

    items: list[AlertModel]
    next: str | None = Field(description="Give it as `cursor` to go on; null at the end.")


def routes(service: ScoringService, authenticator: Authenticator) -> APIRouter:
    """The route of alerts."""
    router = APIRouter(prefix="/v1/scores/alerts", tags=["scores"])
    endpoint = _list(service, authenticator.require(*_READERS))
    router.add_api_route("", endpoint, summary="What changed for real, fell silent or lost its target")
    return router


def _list(service: ScoringService, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def alerts(
        principal: Annotated[Principal, Depends(reader)],
        active: Annotated[bool, Query(description="Only those that have not ended.")] = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: str | None = None,
    ) -> AlertList:
        before = None if cursor is None else _place(cursor)
        found = await service.alerts(principal.workspace, only_active=active, before=before, limit=limit)
        following = _cursor(found[-1]) if len(found) == limit else None
        return AlertList(items=[_model(alert) for alert in found], next=following)

    return alerts


def _model(alert: Alert) -> AlertModel:
    times = {"raised_at": alert.raised_at, "ended_at": alert.ended_at}
    return AlertModel.model_validate(
        {**alert.evidence, "id": alert.id, "name": alert.name, "kind": alert.kind, **times}
    )


def _cursor(alert: Alert) -> str:
    return base64.urlsafe_b64encode(f"{rfc3339(alert.raised_at)} {alert.id}".encode()).decode().rstrip("=")


def _place(text: str) -> tuple[datetime, UUID]:
    """Undo `_cursor`. Raises InvalidInput for what we did not hand out."""
    try:
        moment, identity = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(" ")
        raised_at = datetime.fromisoformat(moment)
        if raised_at.tzinfo is None:
            raise ValueError(moment)
        return raised_at, UUID(identity)
    except (ValueError, binascii.Error):
        raise InvalidInput(
            "cursor is not one of ours; leave it out to start at the beginning",
            faults=[Fault("query.cursor", "not a cursor of this list")],
        ) from None
