"""HTTP: the quarterly report, as JSON or as a page to read, print and pass on."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.api.figures import READERS
from services.scoring.domain.report import Quarter, QuarterReport
from services.scoring.page import render
from services.scoring.report import Reports
from shared.auth.keys import Principal, Role
from shared.contracts.envelope import Label
from shared.core.errors import Fault, InvalidInput
from shared.http.authentication import Authenticator

Language = Literal["en", "tr", "fa"]
QuarterText = Annotated[str, Field(max_length=20, description="As 2026-Q3.")]
# Nothing is loaded and nothing runs: the page is a document.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Cache-Control": "no-store",
}


class ObstaclesBody(BaseModel):
    """What stands in the way of a department in a quarter, in the words of its manager."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"quarter": "2026-Q3", "department": "support", "text": "Two of five seats were empty in July."}
        },
    )

    quarter: QuarterText
    department: Label | None = Field(default=None, description="Absent: the report of all departments.")
    text: Annotated[str, Field(max_length=5000, description="Empty takes it out.")]


def routes(reports: Reports, authenticator: Authenticator) -> APIRouter:
    """The routes of reports."""
    router = APIRouter(prefix="/v1/reports", tags=["reports"])
    router.add_api_route(
        "/quarter",
        _quarter(reports, authenticator.require(*READERS)),
        summary="The quarterly report of a department",
        response_model=QuarterReport,
        responses={200: {"content": {"text/html": {}}}},
    )
    router.add_api_route(
        "/quarter/obstacles",
        _write_obstacles(reports, authenticator.require(Role.MANAGER)),
        methods=["PUT"],
        status_code=204,
        summary="Say in the report what stands in the way",
    )
    return router


def _quarter(reports: Reports, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def quarterly_report(
        principal: Annotated[Principal, Depends(reader)],
        department: Annotated[Label | None, Query(description="Absent: all of them.")] = None,
        quarter: Annotated[
            str | None, Query(max_length=20, description="As 2026-Q3; the running one if absent.")
        ] = None,
        format: Annotated[Literal["json", "html"], Query(description="`html` is a page that prints well.")] = "json",
        language: Annotated[Language, Query(description="Of the page.")] = "en",
    ) -> Any:
        asked = None if quarter is None else Quarter.read(quarter, "query.quarter")
        report = await reports.quarter(principal.workspace, department, asked)
        return report if format == "json" else HTMLResponse(render(report, language), headers=_HEADERS)

    return quarterly_report


def _write_obstacles(reports: Reports, manager: Callable[..., Any]) -> Callable[..., Any]:
    async def write_obstacles(principal: Annotated[Principal, Depends(manager)], body: ObstaclesBody) -> Response:
        if "\0" in body.text:
            raise InvalidInput("The text cannot be kept.", faults=[Fault("body.text", "contains a NUL character")])
        quarter, text = Quarter.read(body.quarter, "body.quarter"), body.text.strip()
        await reports.write_obstacles(principal.workspace, body.department, quarter, text)
        return Response(status_code=204)

    return write_obstacles
