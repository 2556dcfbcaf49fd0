"""Routes of the notifier; no logic."""

import html
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from services.notifier import schemas
from services.notifier.service import NotifierService
from services.notifier.wording import Words
from shared.auth.keys import Principal, Role
from shared.contracts.followup_changed import Audience, FollowupState, Transport
from shared.http.authentication import Authenticator
from shared.http.sse import event_stream
from shared.runtime.feed import Feed

_YAML_BODY = {
    "requestBody": {
        "required": True,
        "description": "A play file; see services/notifier/plays/default.yaml.",
        "content": {"application/yaml": {"schema": {"type": "string"}}},
    }
}
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; style-src 'unsafe-inline'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def routes(service: NotifierService, authenticator: Authenticator, feed: Feed) -> APIRouter:
    """Everything that needs a key."""
    router = APIRouter(prefix="/v1")
    may_read = authenticator.require(Role.MANAGER, Role.OPERATOR)
    who_may_read = Annotated[Principal, Depends(may_read)]
    _followup_routes(router, service, feed, who_may_read)
    _choice_routes(router, service, who_may_read)
    return router


def _followup_routes(router: APIRouter, service: NotifierService, feed: Feed, who_may: Any) -> None:
    @router.get("/followups", tags=["follow-ups"], summary="Follow-ups, newest first")
    async def list_followups(
        who: who_may,
        state: FollowupState | None = None,
        audience: Audience | None = None,
        transport: Transport | None = None,
        play: str | None = None,
        feedback_id: UUID | None = None,
        assignment_id: UUID | None = None,
        customer_id: UUID | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> schemas.FollowupPage:
        filters = {
            "state": state,
            "audience": audience,
            "transport": transport,
            "play": play,
            "feedback_id": feedback_id,
            "assignment_id": assignment_id,
            "customer_id": customer_id,
        }
        rows, following = await service.page(who, filters, cursor, limit)
        return schemas.FollowupPage(items=[schemas.Followup.model_validate(row) for row in rows], next=following)

    @router.get("/followups/stream", tags=["follow-ups"], summary="Changes of follow-ups as they happen (SSE)")
    async def stream_followups(
        who: who_may, last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None
    ) -> StreamingResponse:
        if last_event_id is not None:
            feed.parse(last_event_id)
        wanted = feed.stream(last_event_id, lambda event: event.workspace == who.workspace)
        return event_stream("followups", wanted)

    @router.get("/followups/{followup_id}", tags=["follow-ups"], summary="One follow-up with its attempts")
    async def read_followup(followup_id: UUID, who: who_may) -> schemas.FollowupWithAttempts:
        return schemas.followup_with_attempts(*await service.read(who, followup_id))

    @router.post(
        "/followups/{followup_id}/resend",
        tags=["follow-ups"],
        summary="Send an unknown or failed follow-up once more, with the same ids",
        status_code=202,
    )
    async def resend_followup(followup_id: UUID, who: who_may) -> schemas.Followup:
        return schemas.Followup.model_validate(await service.resend(who, followup_id))


def _choice_routes(router: APIRouter, service: NotifierService, who_may: Any) -> None:
    @router.get("/plays", tags=["plays"], summary="The plays in force")
    async def read_plays(who: who_may) -> schemas.Plays:
        return schemas.plays_answer(await service.plays(who))

    @router.put("/plays", tags=["plays"], summary="Put a play file in force", openapi_extra=_YAML_BODY)
    async def put_plays(request: Request, who: who_may) -> schemas.Plays:
        return schemas.plays_answer(await service.put_plays(who, await request.body()))

    @router.get("/destinations", tags=["destinations"], summary="Where agents and managers are told")
    async def list_destinations(who: who_may) -> list[schemas.Destination]:
        return [schemas.Destination.model_validate(row) for row in await service.destinations(who)]

    @router.put("/destinations/{audience}/{transport}", tags=["destinations"], summary="Set an address")
    async def set_destination(
        audience: Annotated[Audience, "agent or manager"],
        transport: Transport,
        body: schemas.NewDestination,
        who: who_may,
    ) -> schemas.DestinationWithSecret:
        row, secret = await service.set_destination(who, audience, transport, body.address, rotate=body.rotate_secret)
        shown = schemas.Destination.model_validate(row)
        return schemas.DestinationWithSecret(**shown.model_dump(), secret=secret)

    @router.delete(
        "/destinations/{audience}/{transport}", tags=["destinations"], summary="Forget an address", status_code=204
    )
    async def remove_destination(audience: Audience, transport: Transport, who: who_may) -> Response:
        await service.remove_destination(who, audience, transport)
        return Response(status_code=204)

    @router.get("/suppressions", tags=["suppressions"], summary="Who gets no follow-ups")
    async def list_suppressions(
        who: who_may, limit: Annotated[int, Query(ge=1, le=1000)] = 200
    ) -> list[schemas.Suppression]:
        return [schemas.Suppression.model_validate(row) for row in await service.suppressions(who, limit)]

    @router.post("/suppressions", tags=["suppressions"], summary="Leave an address in peace", status_code=204)
    async def add_suppression(body: schemas.NewSuppression, who: who_may) -> Response:
        await service.suppress(who, body.email)
        return Response(status_code=204)

    @router.post("/suppressions/remove", tags=["suppressions"], summary="Take an address off the list", status_code=204)
    async def remove_suppression(body: schemas.NewSuppression, who: who_may) -> Response:
        await service.allow_again(who, body.email)
        return Response(status_code=204)


def public_routes(service: NotifierService) -> APIRouter:
    """The unsubscribe link: no key, the token is signed. GET changes nothing: scanners of mail follow links."""
    router = APIRouter(tags=["unsubscribe"])

    @router.get("/unsubscribe/{token}", summary="Ask before unsubscribing", response_class=HTMLResponse)
    async def ask(token: str) -> HTMLResponse:
        words = await service.unsubscribe_words(token)
        button = f"<form method='post'><button>{html.escape(words.unsubscribe)}</button></form>"
        return _page(words, words.get("unsubscribe_question"), button)

    @router.post("/unsubscribe/{token}", summary="Unsubscribe (one click, RFC 8058)", response_class=HTMLResponse)
    async def unsubscribe(token: str) -> HTMLResponse:
        words = await service.unsubscribe(token)
        return _page(words, words.get("unsubscribed"))

    return router


def _page(words: Words, sentence: str, rest: str = "") -> HTMLResponse:
    content = (
        f"<!doctype html><html dir='{words.direction}'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(words.unsubscribe)}</title></head>"
        f"<body style='font-family:sans-serif;max-width:32rem;margin:4rem auto'>"
        f"<p>{html.escape(sentence)}</p>{rest}</body></html>"
    )
    return HTMLResponse(content, headers=_PAGE_HEADERS)
