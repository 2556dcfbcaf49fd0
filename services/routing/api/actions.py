"""Routes of what agents do with an assignment. Each answers with the assignment as it stands then."""

from uuid import UUID

from fastapi import APIRouter, Depends

from services.routing.api.bodies import Act, Answer, CaseOut, HandOver, Reopen, Resolve, case_out
from services.routing.service.agents import Actor, Agents
from services.routing.service.inbox import Inbox
from shared.auth.keys import Principal, Role
from shared.core.errors import Fault, InvalidInput
from shared.http.authentication import Authenticator


def routes(agents: Agents, inbox: Inbox, authenticator: Authenticator) -> APIRouter:
    """Take, answer, hand over, resolve, reopen: for agents on what is theirs, for managers on everything."""
    router = APIRouter(prefix="/v1", tags=["assignments"])
    key = Depends(authenticator.require(Role.AGENT, Role.MANAGER))

    async def shown(who: Principal, assignment_id: UUID) -> CaseOut:
        return case_out(*await inbox.case(who.workspace, assignment_id))

    @router.post("/assignments/{assignment_id}/take", summary="Begin to work on it")
    async def take(assignment_id: UUID, body: Act | None = None, who: Principal = key) -> CaseOut:
        body = body or Act()
        await agents.take(_actor(who, body), assignment_id, sequence=body.sequence)
        return await shown(who, assignment_id)

    @router.post("/assignments/{assignment_id}/answer", summary="The customer was answered: stop the clock")
    async def answer(assignment_id: UUID, body: Answer | None = None, who: Principal = key) -> CaseOut:
        body = body or Answer()
        await agents.answer(_actor(who, body), assignment_id, note=body.note, sequence=body.sequence)
        return await shown(who, assignment_id)

    @router.post("/assignments/{assignment_id}/hand_over", summary="Give it to another member or team")
    async def hand_over(assignment_id: UUID, body: HandOver, who: Principal = key) -> CaseOut:
        if body.to_member is not None and body.to_team is not None:
            raise InvalidInput("hand over to a member or to a team", faults=[Fault("to_team", "not with to_member")])
        await agents.hand_over(
            _actor(who, body),
            assignment_id,
            reason=body.reason,
            to_member=body.to_member,
            to_team=body.to_team,
            sequence=body.sequence,
        )
        return await shown(who, assignment_id)

    @router.post("/assignments/{assignment_id}/resolve", summary="Close it with cause and action")
    async def resolve(assignment_id: UUID, body: Resolve, who: Principal = key) -> CaseOut:
        await agents.resolve(
            _actor(who, body),
            assignment_id,
            cause=body.cause,
            action=body.action,
            note=body.note,
            sequence=body.sequence,
        )
        return await shown(who, assignment_id)

    @router.post("/assignments/{assignment_id}/reopen", summary="Open a resolved one again")
    async def reopen(assignment_id: UUID, body: Reopen, who: Principal = key) -> CaseOut:
        await agents.reopen(_actor(who, body), assignment_id, reason=body.reason, sequence=body.sequence)
        return await shown(who, assignment_id)

    return router


def _actor(who: Principal, body: Act) -> Actor:
    return Actor(who.workspace, who.name, who.may(Role.MANAGER), body.member)
