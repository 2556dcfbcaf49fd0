"""HTTP: the rules of a workspace's scores."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from services.scoring.api.bodies import RulesModel
from services.scoring.api.figures import READERS
from services.scoring.repository.progress import Standing
from services.scoring.service import ScoringService
from shared.auth.keys import Principal, Role
from shared.http.authentication import Authenticator


class RulesComing(BaseModel):
    """Rules on their way: answers are counted under them in the background, `counted` of 1 so far, and then they take
    the place of the old ones in one step."""

    version: int
    rules: RulesModel
    counted: Annotated[float, Field(ge=0, le=1)]


class RulesNow(BaseModel):
    """The rules that scores are made by; `coming` are those that were asked for and are not in use yet."""

    version: int = Field(description="Counts the changes; the `rule_version` of every score ends with it.")
    rules: RulesModel
    coming: RulesComing | None = None


def routes(service: ScoringService, authenticator: Authenticator) -> APIRouter:
    """The routes of rules."""
    router = APIRouter(prefix="/v1/scores/rules", tags=["scores"])
    router.add_api_route("", _rules(service, authenticator.require(*READERS)), summary="The rules of your scores")
    manager = authenticator.require(Role.MANAGER)
    router.add_api_route(
        "", _change_rules(service, manager), methods=["PUT"], summary="Other roll-ups, formulas, time zone"
    )
    return router


def _rules(service: ScoringService, reader: Callable[..., Any]) -> Callable[..., Any]:
    async def rules(principal: Annotated[Principal, Depends(reader)]) -> RulesNow:
        return _rules_now(await service.standing(principal.workspace))

    return rules


def _change_rules(service: ScoringService, manager: Callable[..., Any]) -> Callable[..., Any]:
    async def change_rules(principal: Annotated[Principal, Depends(manager)], rules: RulesModel) -> RulesNow:
        return _rules_now(await service.change_rules(principal.workspace, rules.rules()))

    return change_rules


def _rules_now(standing: Standing) -> RulesNow:
    coming = None
    if standing.coming is not None:
        (version, rules), counted = standing.coming
        coming = RulesComing(version=version, rules=RulesModel.of(rules), counted=counted)
    return RulesNow(version=standing.ruled.version, rules=RulesModel.of(standing.ruled.rules), coming=coming)
