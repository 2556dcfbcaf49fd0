"""HTTP: scores as a table for a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from services.scoring.api.figures import READERS
from services.scoring.api.scores import Selection
from services.scoring.domain.answers import DIMENSIONS
from services.scoring.domain.windows import WINDOWS
from services.scoring.service import ListedScore, ScoreFilter, ScorePage, ScoringService
from shared.auth.keys import Principal
from shared.contracts.score_updated import Invitations, Sentiments
from shared.core.clock import rfc3339
from shared.http.authentication import Authenticator

_PAGE = 200
# Spreadsheets take a byte-order mark as "this is UTF-8"; without it Turkish and Persian come out as nonsense.
_MARK = "\ufeff"
# A cell that begins so is a formula to a spreadsheet, and names of touchpoints come from outside.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    *("metric", "survey_type", "window", *DIMENSIONS),
    *("value", "n", "promoters", "passives", "detractors", "positive", "neutral", "negative", "unknown"),
    *("delivered", "completed", "bounced", "suppressed"),
    *("interval_low", "interval_high", "reportable"),
    *("previous_value", "previous_n", "change", "p_value", "as_of", "rule_version"),
)


def routes(service: ScoringService, authenticator: Authenticator) -> APIRouter:
    """The route of the export."""
    router = APIRouter(prefix="/v1/scores", tags=["scores"])
    router.add_api_route(
        "/export.csv",
        _export(service, authenticator.require(*READERS)),
        summary="Scores as CSV, safe to open in a spreadsheet",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}}}},
    )
    return router


def _export(service: ScoringService, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def export(
        principal: Annotated[Principal, Depends(reader)], selection: Annotated[Selection, Depends()]
    ) -> StreamingResponse:
        wanted = ScoreFilter(
            metric=selection.metric,
            survey_type=selection.survey_type,
            windows=WINDOWS if selection.window is None else (selection.window,),
            dimensions=selection.dimensions,
            by=selection.by,
        )
        first = await service.page(principal.workspace, wanted, None, _PAGE)  # a wrong filter is told before it begins
        return StreamingResponse(
            _lines(service, principal.workspace, wanted, first),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="scores.csv"'},
        )

    return export


async def _lines(service: ScoringService, workspace: str, wanted: ScoreFilter, first: ScorePage) -> AsyncIterator[str]:
    yield _MARK + _line(COLUMNS)
    page = first
    while True:
        yield "".join(_line(_row(page, item)) for item in page.items)
        if page.following is None:
            return
        page = await service.page(workspace, wanted, page.following, _PAGE)


def _row(page: ScorePage, item: ListedScore) -> list[Any]:
    score, dimensions = item.score, dict(item.key.dimensions)
    interval, previous = score.interval, score.previous
    sounds = [getattr(score.sentiments, name, None) for name in Sentiments.model_fields]
    invited = [getattr(score.invitations, name, None) for name in Invitations.model_fields]
    shown = [score.value, interval and interval.low, interval and interval.high] if score.reportable else [None] * 3
    return [
        *(item.key.metric, item.key.survey_type, item.window, *map(dimensions.get, DIMENSIONS)),
        *(shown[0], score.n, score.promoters, score.passives, score.detractors, *sounds, *invited),
        *(shown[1], shown[2], score.reportable),
        *([previous.value, previous.n, previous.change, previous.p_value] if previous else [None] * 4),
        *(rfc3339(page.as_of), page.rule_version),
    ]


def _line(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_safe(cell) for cell in cells])
    return text.getvalue()


def _safe(cell: Any) -> Any:
    """A text that a spreadsheet would run gets an apostrophe before it; numbers stay numbers."""
    if isinstance(cell, bool):
        return str(cell).lower()
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
