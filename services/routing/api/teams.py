"""Routes of teams and members."""

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from services.routing.api.bodies import MemberOut, MembersOut, PresenceBody, TeamsOut, TeamsPut
from services.routing.domain.selection import Presence
from services.routing.service.crew import Crew
from services.routing.team_document import TeamDocument, from_json, from_yaml, stored
from services.routing.team_file import TeamFile
from shared.auth.keys import Principal, Role
from shared.core.errors import Conflict, Fault, InvalidInput
from shared.http.authentication import Authenticator

_YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": TeamDocument.model_json_schema(ref_template="#/components/schemas/{model}")},
            "application/yaml": {"schema": {"type": "string", "description": "The same document as YAML."}},
        },
    }
}
_BODY["requestBody"]["content"]["application/json"]["schema"].pop("$defs", None)


def routes(crew: Crew, authenticator: Authenticator, file: TeamFile | None) -> APIRouter:
    """One document per workspace, and who is there."""
    router = APIRouter(prefix="/v1", tags=["teams"])
    reader = Depends(authenticator.require(Role.AGENT, Role.MANAGER))
    manager = Depends(authenticator.require(Role.MANAGER))

    @router.get("/teams", summary="The team document in force")
    async def read_teams(response: Response, who: Principal = reader) -> TeamsOut:
        found = await crew.document(who.workspace)
        response.headers["ETag"] = f'"{found.version}"'
        return TeamsOut(
            version=found.version,
            changed_by=found.changed_by,
            changed_at=found.changed_at,
            document=stored(found.document),
        )

    @router.put("/teams", summary="Replace the team document (JSON or YAML); If-Match guards it", openapi_extra=_BODY)
    async def put_teams(request: Request, who: Principal = manager) -> TeamsPut:
        kind, body = request.headers.get("content-type", ""), await request.body()
        document = await asyncio.to_thread(_document, kind, body)
        version = _version(request.headers.get("if-match"))
        return TeamsPut(version=await crew.put(who.workspace, document, by=who.name[:80], version=version))

    @router.post("/teams/reload", summary="Read TEAMS_FILE now; a bad file is refused with line and reason")
    async def reload_teams(who: Principal = manager) -> TeamsPut:
        if file is None:
            raise Conflict("no TEAMS_FILE is set; send the document with PUT /v1/teams")
        return TeamsPut(version=(await file.reload(who.workspace)).version)

    @router.get("/members", summary="Members, what they hold, and whether they are there")
    async def list_members(who: Principal = reader) -> MembersOut:
        document, held, presence, now = await crew.members(who.workspace)
        return MembersOut(
            items=[
                MemberOut(
                    **member.model_dump(),
                    open=held.get(member.id, 0),
                    away=presence.get(member.id, Presence(False)).away_at(now),
                    away_until=presence.get(member.id, Presence(False)).until,
                )
                for member in document.members
            ]
        )

    @router.put(
        "/members/{member_id}/presence", summary="Away (their untaken work goes to others) or back", status_code=204
    )
    async def set_presence(member_id: str, body: PresenceBody, who: Principal = reader) -> None:
        if body.until is not None and not body.away:
            raise InvalidInput("`until` says when an absence ends", faults=[Fault("until", "only with away: true")])
        presence = Presence(body.away, body.until)
        await crew.set_presence(who.workspace, member_id, presence, hand_over_taken=body.hand_over_taken)

    return router


def _document(content_type: str, body: bytes) -> TeamDocument:
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("the document is not UTF-8") from None
    if kind in _YAML:
        return from_yaml(text)
    if kind not in ("", "application/json"):
        raise InvalidInput("send the document as application/json or application/yaml")
    try:
        return from_json(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "line 1"
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise InvalidInput(f"not JSON: {where}: {reason}", faults=[Fault(where, reason)]) from None


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput(
            "If-Match holds the ETag that GET /v1/teams gave", faults=[Fault("If-Match", "not a version")]
        )
    return int(text)
