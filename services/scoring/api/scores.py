"""HTTP: scores now, their history, their stream."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from services.scoring.api.figures import (
    READERS,
    Figures,
    FiguresBefore,
    figures,
    figures_before,
    read_cursor,
    spell_cursor,
    strange_cursor,
)
from services.scoring.domain.answers import DIMENSIONS, KeptMetric
from services.scoring.domain.series import SeriesKey
from services.scoring.domain.windows import WINDOWS
from services.scoring.service import Cursor, ListedScore, ScoreFilter, ScorePage, ScoringService
from shared.auth.keys import Principal
from shared.contracts.envelope import AwareDatetime, Event, Label
from shared.contracts.feedback_received import Formula, SurveyType
from shared.contracts.score_updated import ScoreUpdatedV1, Series, Window
from shared.core.errors import Fault, InvalidInput
from shared.http.authentication import Authenticator
from shared.http.sse import event_stream
from shared.runtime.feed import Feed

Dimension = Annotated[Label | None, Query(description="Only series with this value.")]


class ScoreModel(FiguresBefore):
    """A score now. Below `minimum_n` it is not reportable: show n, not the value."""

    series: Series
    name: str
    formula: Formula
    as_of: AwareDatetime
    minimum_n: int
    rule_version: str


class ScoreList(BaseModel):
    """A page of scores."""

    items: list[ScoreModel]
    next: str | None = Field(description="Give it as `cursor` to go on; null at the end.")


class HistoryPoint(Figures):
    """One day of the workspace's calendar; a day without answers has n 0 and no value."""

    day: date


class History(BaseModel):
    """One series by day."""

    series: Series
    points_are: str
    formula: Formula
    minimum_n: int
    rule_version: str
    points: list[HistoryPoint]


def routes(service: ScoringService, authenticator: Authenticator, feed: Feed) -> APIRouter:
    """The routes of scoring."""
    router = APIRouter(prefix="/v1/scores", tags=["scores"])
    reader = authenticator.require(*READERS)
    router.add_api_route("", _list(service, reader), summary="Scores as they are now")
    router.add_api_route("/history", _history(service, reader), summary="One series by day")
    router.add_api_route(
        "/stream",
        _stream(feed, reader),
        summary="score.updated.v1 as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    return router


class Selection:
    """The filters that list and stream share, as a dependency."""

    def __init__(
        self,
        metric: KeptMetric | None = None,
        survey_type: SurveyType | None = None,
        window: Window | None = None,
        touchpoint: Dimension = None,
        department: Dimension = None,
        product: Dimension = None,
        segment: Dimension = None,
        channel: Dimension = None,
        wave: Dimension = None,
        issue: Dimension = None,
        by: Annotated[
            str | None,
            Query(description="`all`, or dimensions like `department,touchpoint`: only series of exactly these."),
        ] = None,
    ) -> None:
        self.metric = metric
        self.survey_type = survey_type
        self.window = window
        values = zip(DIMENSIONS, (touchpoint, department, product, segment, channel, wave, issue), strict=True)
        self.dimensions: dict[str, str] = {name: value for name, value in values if value is not None}
        self.by = None if by is None else _dimension_set(by)

    def matches(self, series: Series) -> bool:
        """Whether a series is selected."""
        return (
            self.metric in (None, series.metric)
            and self.survey_type in (None, series.survey_type)
            and self.window in (None, series.window)
            and self.dimensions.items() <= series.dimensions.items()
            and (self.by is None or set(self.by) == set(series.dimensions))
        )


def _list(service: ScoringService, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def scores(
        request: Request,
        principal: Annotated[Principal, Depends(reader)],
        selection: Annotated[Selection, Depends()],
        reportable: bool | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: str | None = None,
    ) -> ScoreList:
        _refuse_unknown(request, "reportable", "limit", "cursor", "by", "window")
        wanted = ScoreFilter(
            metric=selection.metric,
            survey_type=selection.survey_type,
            windows=WINDOWS if selection.window is None else (selection.window,),
            dimensions=selection.dimensions,
            by=selection.by,
            reportable=reportable,
        )
        page = await service.page(principal.workspace, wanted, None if cursor is None else _place(cursor), limit)
        following = None if page.following is None else spell_cursor(*page.following)
        return ScoreList(items=[_score_model(page, item) for item in page.items], next=following)

    return scores


def _history(service: ScoringService, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def history(
        request: Request,
        principal: Annotated[Principal, Depends(reader)],
        metric: KeptMetric,
        survey_type: SurveyType,
        selection: Annotated[Selection, Depends()],
        window: Window = "30d",
        daily: Annotated[
            bool, Query(description="A point is its day alone, instead of the window that ends with the day.")
        ] = False,
        first: Annotated[
            date | None, Query(alias="from", description="First day of your calendar; 90 days back if absent.")
        ] = None,
        last: Annotated[date | None, Query(alias="to", description="Last day; today if absent.")] = None,
    ) -> History:
        _refuse_unknown(request, "window", "daily", "from", "to")
        key = SeriesKey(principal.workspace, metric, survey_type, tuple(sorted(selection.dimensions.items())))
        found = await service.history(key, first, last, None if daily else window)
        return History(
            series=key.in_window(window),
            points_are="single days" if daily else f"the {window} that end with the day",
            formula=found.formula,
            minimum_n=found.minimum_n,
            rule_version=found.rule_version,
            points=[HistoryPoint(day=day, **figures(score)) for day, score in found.points],
        )

    return history


def _stream(feed: Feed, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def stream(
        request: Request,
        principal: Annotated[Principal, Depends(reader)],
        selection: Annotated[Selection, Depends()],
        last_event_id: Annotated[
            str | None, Header(description="Go on after this id; without it from now on.", max_length=2000)
        ] = None,
    ) -> StreamingResponse:
        _refuse_unknown(request, "by", "window")

        def wanted(event: Event[Any]) -> bool:
            own = event.workspace == principal.workspace and isinstance(event.data, ScoreUpdatedV1)
            return own and selection.matches(event.data.series)

        return event_stream("scores", feed.stream(last_event_id, wanted))

    return stream


def _refuse_unknown(request: Request, *known: str) -> None:
    """A misspelt filter must not silently select everything."""
    names = {"metric", "survey_type", *DIMENSIONS, *known}
    faults = [
        Fault(f"query.{name}", f"unknown; known are {', '.join(sorted(names))}")
        for name in request.query_params
        if name not in names
    ]
    if faults:
        raise InvalidInput("The request has parameters that do not exist here; see faults.", faults=faults)


def _dimension_set(text: str) -> tuple[str, ...]:
    return () if text == "all" else tuple(sorted(name.strip() for name in text.split(",")))


def _score_model(page: ScorePage, item: ListedScore) -> ScoreModel:
    series = item.key.in_window(item.window)
    return ScoreModel(
        **figures_before(item.score),
        series=series,
        name=series.name(),
        formula=item.score.formula,
        as_of=page.as_of,
        minimum_n=item.score.minimum_n,
        rule_version=page.rule_version,
    )


def _place(cursor: str) -> Cursor:
    name, window = read_cursor(cursor)
    if window not in WINDOWS:
        raise strange_cursor()
    return name, window
