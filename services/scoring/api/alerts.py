"""HTTP: alerts, the latest first."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.scoring.api.figures import READERS, read_cursor, spell_cursor, strange_cursor
from services.scoring.repository.alerts import Alert
from services.scoring.service import ScoringService
from shared.auth.keys import Principal
from shared.contracts.envelope import AwareDatetime
from shared.contracts.score_alerted import Contributor
from shared.contracts.score_updated import Interval, Series
from shared.core.clock import rfc3339
from shared.http.authentication import Authenticator


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
    endpoint = _list(service, authenticator.require(*READERS))
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
        last = found[-1] if len(found) == limit else None
        following = None if last is None else spell_cursor(rfc3339(last.raised_at), str(last.id))
        return AlertList(items=[_model(alert) for alert in found], next=following)

    return alerts


def _model(alert: Alert) -> AlertModel:
    times = {"raised_at": alert.raised_at, "ended_at": alert.ended_at}
    return AlertModel.model_validate(
        {**alert.evidence, "id": alert.id, "name": alert.name, "kind": alert.kind, **times}
    )


def _place(cursor: str) -> tuple[datetime, UUID]:
    moment, identity = read_cursor(cursor)
    try:
        raised_at, alert = datetime.fromisoformat(moment), UUID(identity)
    except ValueError:
        raise strange_cursor() from None
    if raised_at.tzinfo is None:
        raise strange_cursor()
    return raised_at, alert
