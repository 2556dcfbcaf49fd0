"""Routes that show assignments and tags."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from services.routing.api.bodies import CaseOut, PageOut, TagsOut, case_out, page_out, tags_out
from services.routing.repository.assignments import Filter
from services.routing.service.inbox import Inbox
from shared.auth.keys import Principal, Role
from shared.contracts.assignment_changed import AssignmentState, Priority
from shared.contracts.envelope import Label
from shared.core.errors import Fault, InvalidInput
from shared.http.authentication import Authenticator
from shared.http.sse import event_stream
from shared.runtime.feed import Feed

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]


def routes(inbox: Inbox, authenticator: Authenticator, *, changed: Feed, routed: Feed) -> APIRouter:
    """Lists, one assignment, streams: for agents and managers."""
    router = APIRouter(prefix="/v1", tags=["assignments"])
    key = Depends(authenticator.require(Role.AGENT, Role.MANAGER))

    @router.get("/assignments", summary="What is to be done: nearest to its due time first, overdue before all")
    async def list_assignments(
        state: Annotated[list[AssignmentState] | None, Query(description="Left out: all that are open.")] = None,
        member: Label | None = None,
        mine: Annotated[bool, Query(description="Those of the member called like this API key.")] = False,
        team: Label | None = None,
        priority: Priority | None = None,
        language: Annotated[str | None, Query(pattern="^([a-z]{2}|und)$")] = None,
        cursor: Annotated[str | None, Query(max_length=300)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        who: Principal = key,
    ) -> PageOut:
        if mine and member is not None and member != who.name:
            raise InvalidInput("`mine` and `member` name different people", faults=[Fault("mine", "give one of them")])
        wanted = Filter(tuple(state or ()), who.name if mine else member, team, priority, language)
        return page_out(await inbox.page(who.workspace, wanted, cursor, limit))

    @router.get("/assignments/stream", summary="Changes as they happen (assignment.changed.v1)")
    async def stream_assignments(
        member: Label | None = None, last_event_id: LastEventId = None, who: Principal = key
    ) -> StreamingResponse:
        events = changed.stream(
            last_event_id,
            lambda event: event.workspace == who.workspace and member in (None, event.data.member_id),
        )
        return event_stream("assignments", events)

    @router.get("/routed/stream", summary="Tags of feedback as it is understood (feedback.routed.v1)")
    async def stream_routed(last_event_id: LastEventId = None, who: Principal = key) -> StreamingResponse:
        return event_stream("routed", routed.stream(last_event_id, lambda event: event.workspace == who.workspace))

    @router.get("/feedback/{feedback_id}/tags", summary="What was understood of a feedback, newest revision first")
    async def feedback_tags(feedback_id: UUID, who: Principal = key) -> list[TagsOut]:
        return [tags_out(row) for row in await inbox.tags(who.workspace, feedback_id)]

    @router.get("/assignments/{assignment_id}", summary="One assignment with feedback, tags and history")
    async def one_assignment(assignment_id: UUID, who: Principal = key) -> CaseOut:
        return case_out(*await inbox.case(who.workspace, assignment_id))

    return router
