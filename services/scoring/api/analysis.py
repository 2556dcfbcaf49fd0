"""HTTP: scores compared with before, what drove a change, the same customers in two waves."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.scoring.analysis import Against, Analysis, Customer
from services.scoring.api.figures import READERS, FiguresBefore, figures_before
from services.scoring.api.scores import Selection
from services.scoring.domain.answers import DIMENSIONS, KeptMetric
from services.scoring.domain.series import SeriesKey
from services.scoring.domain.significance import BANDS
from shared.auth.keys import Principal
from shared.contracts.envelope import AwareDatetime, Label
from shared.contracts.feedback_received import Band, SurveyType
from shared.contracts.score_updated import Series, Window
from shared.core.errors import Fault, InvalidInput
from shared.http.authentication import Authenticator

# Customers who are named of each list; their number is told in any case.
MOST_CUSTOMERS = 1000


class ComparedModel(FiguresBefore):
    """A series against before. `adjusted_p` is for all series of this answer together (Benjamini–Hochberg)."""

    series: Series
    name: str
    adjusted_p: float | None
    significant: bool = Field(description="Real at a false discovery rate of 5 %, and reportable.")


class ComparisonModel(BaseModel):
    """All series of one set of dimensions, now and before."""

    start: AwareDatetime
    end: AwareDatetime
    before_start: AwareDatetime
    before_end: AwareDatetime
    rule_version: str
    items: list[ComparedModel]


class DriverModel(FiguresBefore):
    """A part: `rate` are the points that its own change brought, `mix` those of its share; `points` is both."""

    dimension_value: str
    rate: float
    mix: float
    points: float


class DriversModel(FiguresBefore):
    """What moved a score. Points of all parts add up to the change where every answer has the dimension."""

    series: Series
    by: str
    rule_version: str
    unnamed: int = Field(description="Answers that have no value of the dimension; they are in no part.")
    parts: list[DriverModel] = Field(description="Largest first.")


class CustomerModel(BaseModel):
    """A customer who answered in both waves, by pseudonym."""

    customer_id: UUID
    before: Band
    after: Band
    feedback_before: UUID
    feedback_after: UUID


class CustomersModel(BaseModel):
    """How many, and who."""

    count: int
    customers: list[CustomerModel] = Field(description=f"At most {MOST_CUSTOMERS}.")


class ChangeInterval(BaseModel):
    """A confidence interval of a change."""

    low: float
    high: float
    level: float = 0.95


class WavesModel(BaseModel):
    """The same customers before and after: each counts by their latest answer in the wave."""

    survey: str
    before: str
    after: str
    answered_before: int
    answered_after: int
    answered_both: int
    change: float | None = Field(description="In points of NPS, of those who answered both.")
    interval: ChangeInterval | None = Field(description="From the individual changes; null below two customers.")
    transitions: dict[Band, dict[Band, int]] = Field(description="Band before → band after → customers.")
    recovered: CustomersModel = Field(description="Detractors who are none any more.")
    lost: CustomersModel = Field(description="Those who became detractors.")


def routes(analysis: Analysis, authenticator: Authenticator) -> APIRouter:
    """The routes of analysis."""
    router = APIRouter(prefix="/v1/scores", tags=["scores"])
    reader = authenticator.require(*READERS)
    router.add_api_route("/compare", _compare(analysis, reader), summary="Now against before, what of it is real")
    router.add_api_route("/drivers", _drivers(analysis, reader), summary="What moved a score, part by part")
    router.add_api_route("/waves", _waves(analysis, reader), summary="The same customers in two waves")
    return router


def _compare(analysis: Analysis, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def compare(
        principal: Annotated[Principal, Depends(reader)],
        metric: KeptMetric,
        survey_type: SurveyType,
        by: Annotated[str, Query(description="`all`, or dimensions like `department,touchpoint`.")] = "all",
        window: Window = "30d",
        against: Annotated[
            Against, Query(description="The window before, or the same one a year before.")
        ] = "previous",
    ) -> ComparisonModel:
        names = () if by == "all" else tuple(sorted(name.strip() for name in by.split(",")))
        found = await analysis.compare(principal.workspace, metric, survey_type, window, names, against)
        return ComparisonModel(
            start=found.start,
            end=found.end,
            before_start=found.before_start,
            before_end=found.before_end,
            rule_version=found.rule_version,
            items=[
                ComparedModel(
                    **figures_before(one.score),
                    series=(series := one.key.in_window(window)),
                    name=series.name(),
                    adjusted_p=None if one.adjusted_p is None else round(one.adjusted_p, 6),
                    significant=one.significant,
                )
                for one in found.items
            ],
        )

    return compare


def _drivers(analysis: Analysis, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def drivers(
        principal: Annotated[Principal, Depends(reader)],
        metric: KeptMetric,
        survey_type: SurveyType,
        by: Annotated[str, Query(description="The dimension whose values are the parts.")],
        selection: Annotated[Selection, Depends()],
        against: Against = "previous",
    ) -> DriversModel:
        if by not in DIMENSIONS or by in selection.dimensions:
            fault = Fault("query.by", f"one dimension that the series does not have: {', '.join(DIMENSIONS)}")
            raise InvalidInput("The parts of a series differ in one more dimension.", faults=[fault])
        window = selection.window or "30d"
        key = SeriesKey(principal.workspace, metric, survey_type, tuple(sorted(selection.dimensions.items())))
        found = await analysis.drivers(key, window, by, against)
        parts = [
            DriverModel(
                **figures_before(part.score),
                dimension_value=part.value,
                rate=round(part.moved.rate, 4),
                mix=round(part.moved.mix, 4),
                points=round(part.moved.points, 4),
            )
            for part in found.parts
        ]
        return DriversModel(
            **figures_before(found.score),
            series=key.in_window(window),
            by=by,
            rule_version=found.rule_version,
            unnamed=found.unnamed,
            parts=parts,
        )

    return drivers


def _waves(analysis: Analysis, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def waves(
        principal: Annotated[Principal, Depends(reader)],
        survey: Annotated[Label, Query(description="The survey that was repeated.")],
        before: Annotated[Label, Query(description="The earlier wave.")],
        after: Annotated[Label, Query(description="The later wave.")],
    ) -> WavesModel:
        found = await analysis.waves(principal.workspace, survey, before, after)
        pair = found.paired
        interval = None
        if pair.low is not None and pair.high is not None:
            interval = ChangeInterval(low=round(pair.low, 4), high=round(pair.high, 4))
        return WavesModel(
            survey=survey,
            before=before,
            after=after,
            answered_before=found.answered_before,
            answered_after=found.answered_after,
            answered_both=pair.n,
            change=None if pair.change is None else round(pair.change, 4),
            interval=interval,
            transitions={
                first: dict(zip(BANDS, row, strict=True)) for first, row in zip(BANDS, pair.transitions, strict=True)
            },
            recovered=_customers(found.recovered),
            lost=_customers(found.lost),
        )

    return waves


def _customers(some: list[Customer]) -> CustomersModel:
    listed = [
        CustomerModel(
            customer_id=one.customer_id,
            before=one.before,
            after=one.after,
            feedback_before=one.feedback_before,
            feedback_after=one.feedback_after,
        )
        for one in some[:MOST_CUSTOMERS]
    ]
    return CustomersModel(count=len(some), customers=listed)
