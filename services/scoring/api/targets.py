"""HTTP: targets of series."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.api.bodies import Dimension
from services.scoring.api.figures import READERS
from services.scoring.domain.answers import KeptMetric
from services.scoring.domain.series import SeriesKey
from services.scoring.goals import Goal, Goals
from services.scoring.repository.targets import Target
from shared.auth.keys import Principal, Role
from shared.contracts.envelope import Label
from shared.contracts.feedback_received import SurveyType
from shared.contracts.score_updated import Interval, Window
from shared.http.authentication import Authenticator


class TargetIn(BaseModel):
    """What a series shall be in a window on a day. Departments that begin lower may have lower ones."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "example": {
                "metric": "nps",
                "survey_type": "transactional",
                "window": "90d",
                "dimensions": {"department": "support"},
                "due": "2027-03-31",
                "value": 40,
            }
        },
    )

    metric: KeptMetric
    survey_type: SurveyType
    window: Window = "90d"
    dimensions: dict[Dimension, Label] = Field(default_factory=dict, max_length=4)
    due: date = Field(description="By the calendar of the workspace.")
    value: float

    def target(self, workspace: str) -> Target:
        """The same for the engine."""
        dimensions = tuple(sorted((str(name), value) for name, value in self.dimensions.items()))
        return Target(
            SeriesKey(workspace, self.metric, self.survey_type, dimensions), self.window, self.due, self.value
        )


class ReachModel(BaseModel):
    """What an NPS target takes, at the present volume and rates."""

    expected_n: int = Field(description="Answers that the window will have on that day.")
    detractors_to_passive: int | None = Field(description="So many would have to be; null: all are too few.")
    detractors_to_promoter: int | None
    odds: float = Field(ge=0, le=1, description="That it is met if the rates stay as they are.")


class TargetModel(BaseModel):
    """A target and where it stands."""

    metric: KeptMetric
    survey_type: SurveyType
    window: Window
    dimensions: dict[str, str]
    due: date
    value: float
    score: float | None = Field(description="The series now.")
    n: int
    interval: Interval | None
    reportable: bool
    distance: float | None = Field(description="score − value.")
    reach: ReachModel | None


class TargetList(BaseModel):
    """All targets, the next first."""

    items: list[TargetModel]


def routes(goals: Goals, authenticator: Authenticator) -> APIRouter:
    """The routes of targets."""
    router = APIRouter(prefix="/v1/scores/targets", tags=["scores"])
    router.add_api_route("", _list(goals, authenticator.require(*READERS)), summary="Targets and where they stand")
    manager = authenticator.require(Role.MANAGER)
    router.add_api_route(
        "", _put(goals, manager), methods=["PUT"], status_code=204, summary="Set a target, or another value for it"
    )
    router.add_api_route(
        "/remove", _remove(goals, manager), methods=["POST"], status_code=204, summary="Take a target back"
    )
    return router


def _list(goals: Goals, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def targets(principal: Annotated[Principal, Depends(reader)]) -> TargetList:
        return TargetList(items=[_model(goal) for goal in await goals.all_of(principal.workspace)])

    return targets


def _put(goals: Goals, manager: Callable[..., Any]) -> Callable[..., Any]:
    async def set_target(principal: Annotated[Principal, Depends(manager)], target: TargetIn) -> Response:
        await goals.put(target.target(principal.workspace))
        return Response(status_code=204)

    return set_target


def _remove(goals: Goals, manager: Callable[..., Any]) -> Callable[..., Any]:
    async def remove_target(principal: Annotated[Principal, Depends(manager)], target: TargetIn) -> Response:
        await goals.remove(target.target(principal.workspace))
        return Response(status_code=204)

    return remove_target


def _model(goal: Goal) -> TargetModel:
    target, score, found = goal.target, goal.score, goal.reach
    reach = None
    if found is not None:
        reach = ReachModel(
            expected_n=found.expected_n,
            detractors_to_passive=found.to_passive,
            detractors_to_promoter=found.to_promoter,
            odds=round(found.odds, 4),
        )
    return TargetModel(
        metric=target.key.metric,
        survey_type=target.key.survey_type,
        window=target.window,
        dimensions=dict(target.key.dimensions),
        due=target.due,
        value=target.value,
        score=score.value,
        n=score.n,
        interval=score.interval,
        reportable=score.reportable,
        distance=goal.distance,
        reach=reach,
    )
