"""Routes of ingest. The hot ones are answered by endpoints.py; here they are described for OpenAPI."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from services.ingest import examples, source_api
from services.ingest.admin import SourceAdmin
from services.ingest.canonical import Origin, event_of
from services.ingest.documented import NO_KEY, NO_ROLE, TOO_LARGE, UNAVAILABLE, problems
from services.ingest.endpoints import ItemsEndpoint, SourceEndpoint, counted, refuse_encoded
from services.ingest.errors import UnsupportedMediaType
from services.ingest.fairness import Fairness
from services.ingest.importing import MAX_REFUSALS, Csv, Format, Ndjson, run_import
from services.ingest.inputs import FeedbackIn
from services.ingest.invitations import InvitationIn, invitation_of
from services.ingest.service import MAX_ITEMS, IngestService
from shared.auth.keys import Principal, Role
from shared.http.authentication import Authenticator
from shared.http.problems import FaultModel
from shared.telemetry.tracing import current_traceparent, span

_MOST_REFUSALS = 10_000


class AcceptedItem(BaseModel):
    """One accepted item: the id of its event, and of the feedback that the event is about."""

    id: str
    feedback_id: str


class AcceptedInvitation(BaseModel):
    """One accepted status: the id of its event, and of the invitation."""

    id: str
    invitation_id: str


class AcceptedInvitations(BaseModel):
    """Accepted and durable, in the order in which they were sent."""

    items: list[AcceptedInvitation]


class Accepted(BaseModel):
    """Accepted and durable, in the order in which it was sent."""

    items: list[AcceptedItem]


class Delivery(BaseModel):
    """What became of a vendor's delivery: events, dead letters, and what was left out by reason."""

    accepted: int
    parked: int
    skipped: dict[str, int]


class Refusal(BaseModel):
    """A line that was not accepted."""

    line: int
    faults: list[FaultModel]


class ImportReport(BaseModel):
    """What became of the lines. `refusals` holds the first `max_refusals`; `refusals_cut` says that there are more."""

    accepted: int
    refused: int
    refusals: list[Refusal]
    refusals_cut: bool


def routes(service: IngestService, admin: SourceAdmin, fairness: Fairness, authenticator: Authenticator) -> APIRouter:
    """The router of ingest."""
    router = APIRouter(tags=["ingest"])
    hot: dict[str, Callable[..., Any]] = {
        "/v1/feedback": ItemsEndpoint(service, fairness, authenticator, "/v1/feedback", event_of, "feedback_id"),
        "/v1/invitations": ItemsEndpoint(
            service, fairness, authenticator, "/v1/invitations", invitation_of, "invitation_id"
        ),
        "/v1/sources/{key}": SourceEndpoint(service),
    }
    for path, endpoint in hot.items():
        methods = ["POST", "GET", "OPTIONS"] if path.startswith("/v1/sources/") else ["POST"]
        router.routes.append(Route(path, endpoint, methods=methods, include_in_schema=False))  # GET has HEAD with it
    _describe_hot_routes(router)
    _add_import(router, service, fairness, authenticator)
    source_api.add_routes(router, service, admin, authenticator)
    return router


def _describe_hot_routes(router: APIRouter) -> None:
    """The routes above stand first and answer; these give OpenAPI its text (a test holds both together)."""

    @router.post(
        "/v1/feedback",
        status_code=202,
        summary="Send feedback",
        description=f"One object, or an array of up to {MAX_ITEMS}, all or nothing. 202 means durable. The same id and "
        "revision sent again is the same event. Needs the role channel or operator.",
        responses=problems(
            status_401=NO_KEY,
            status_403=NO_ROLE,
            status_413=TOO_LARGE,
            status_415="The body is compressed.",
            status_422="Not accepted, nothing stored; `faults` has the path of each fault: `[3].ratings[0].value`.",
            status_503=UNAVAILABLE,
        ),
    )
    async def send_feedback(
        feedback: Annotated[
            FeedbackIn | Annotated[list[FeedbackIn], Field(min_length=1, max_length=MAX_ITEMS)],
            Body(openapi_examples=examples.BODIES),
        ],
        idempotency_key: Annotated[
            str | None, Header(max_length=150, description="Names an object that has no id of its own.")
        ] = None,
    ) -> Accepted:
        raise NotImplementedError("answered by ItemsEndpoint, which is routed first")

    @router.post(
        "/v1/invitations",
        status_code=202,
        summary="Say what became of invitations",
        description="So that the response rate is known: how many of the delivered invitations were answered. "
        f"One object, or an array of up to {MAX_ITEMS}, all or nothing. 202 means durable; sending it again is safe. "
        "Needs the role channel or operator.",
        responses=problems(
            status_401=NO_KEY,
            status_403=NO_ROLE,
            status_413=TOO_LARGE,
            status_415="The body is compressed.",
            status_422="Not accepted, nothing stored; `faults` has the path of each fault.",
            status_503=UNAVAILABLE,
        ),
    )
    async def send_invitations(
        invitations: Annotated[
            InvitationIn | Annotated[list[InvitationIn], Field(min_length=1, max_length=MAX_ITEMS)],
            Body(openapi_examples=examples.INVITATIONS),
        ],
    ) -> AcceptedInvitations:
        raise NotImplementedError("answered by ItemsEndpoint, which is routed first")

    @router.post(
        "/v1/sources/{key}",
        status_code=202,
        summary="Take a vendor's webhook",
        description="The address that `closeloop sources add` gave. The raw body is verified with the source's secrets "
        "before anything reads it. What is verified and cannot be understood is kept as a dead letter, answered 202.",
        response_model=Delivery,
        responses={
            200: {
                "description": "A handshake of the vendor.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **problems(
                status_401="No such source, or a wrong signature: both are answered alike.",
                status_413=TOO_LARGE,
                status_503=UNAVAILABLE,
            ),
        },
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}},
    )
    async def take_delivery(key: Annotated[str, Path(description="The unguessable last part.")]) -> Delivery:
        raise NotImplementedError("answered by SourceEndpoint, which is routed first")


def _add_import(router: APIRouter, service: IngestService, fairness: Fairness, authenticator: Authenticator) -> None:
    text_body = {"schema": {"type": "string"}}

    @router.post(
        "/v1/feedback/import",
        status_code=202,
        summary="Import many lines",
        description="NDJSON or CSV of any length, read as a stream. Good lines are accepted although others are "
        "refused. Lines are published while they are read: if you leave half-way, what was read stays. Sending the "
        "file again is safe. CSV has a header of field names: `customer.email`, `ratings.0.value`. Needs the role "
        "operator.",
        response_model=ImportReport,
        responses=problems(
            status_401=NO_KEY,
            status_403=NO_ROLE,
            status_415="Neither NDJSON nor CSV, or compressed.",
            status_422="The header of the CSV cannot be read.",
            status_503=UNAVAILABLE,
        ),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/x-ndjson": {**text_body, "example": examples.NDJSON_EXAMPLE},
                    "text/csv": {**text_body, "example": examples.CSV_EXAMPLE},
                },
            }
        },
    )
    async def import_feedback(
        request: Request,
        principal: Annotated[Principal, Depends(authenticator.require(Role.OPERATOR))],
        format: Annotated[
            Literal["ndjson", "csv"] | None, Query(description="Where the Content-Type does not say it.")
        ] = None,
        max_refusals: Annotated[
            int, Query(ge=0, le=_MOST_REFUSALS, description="How many refused lines the answer names.")
        ] = MAX_REFUSALS,
    ) -> Response:
        with counted("import"), span("POST /v1/feedback/import", request.headers.get("traceparent")):
            fairness.admit(principal.workspace)
            refuse_encoded(request.headers)
            form, name = _format(format, request.headers.get("content-type", ""))
            origin = Origin(principal.workspace, "import", name)
            try:
                traceparent = current_traceparent()
                report = await run_import(
                    service, request.stream(), form, origin, traceparent=traceparent, max_refusals=max_refusals
                )
            except ClientDisconnect:
                return Response(status_code=499)
        refusals = [
            Refusal(line=line, faults=[FaultModel(path=fault.path, reason=fault.reason) for fault in faults])
            for line, faults in report.refusals
        ]
        done = ImportReport(
            accepted=report.accepted, refused=report.refused, refusals=refusals, refusals_cut=report.refusals_cut
        )
        return Response(done.model_dump_json(), status_code=202, media_type="application/json")


def _format(asked: str | None, content_type: str) -> tuple[Format, str]:
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    if asked == "csv" or (asked is None and kind in ("text/csv", "application/csv")):
        return Csv(), "csv"
    if asked == "ndjson" or kind in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
        return Ndjson(), "ndjson"
    raise UnsupportedMediaType("send NDJSON as application/x-ndjson or CSV as text/csv, or say ?format=ndjson or csv")
