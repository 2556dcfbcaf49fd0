"""Routes for sources: what `closeloop sources` does, over HTTP."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.ingest.admin import SourceAdmin, SourceSecret, SourceView
from services.ingest.documented import NO_KEY, NO_ROLE, problems
from services.ingest.service import IngestService
from services.ingest.sources import CONNECTORS
from services.ingest.sources.proof import with_proof
from services.ingest.sources.samples import sample
from shared.auth.keys import Principal, Role
from shared.core.errors import Conflict
from shared.http.authentication import Authenticator
from shared.http.problems import FaultModel

_MAX_PAGE = 200
_AWAY = "The database is out of reach."
_UNKNOWN = "There is no such source."
Name = Annotated[str, Path(description="Name of the source.")]


class SourceOut(BaseModel):
    """A source. The vendor posts to `path`."""

    name: str
    connector: str
    path: str
    settings: dict[str, Any]
    enabled: bool
    active_secrets: int
    created_at: datetime


class SourcePage(BaseModel):
    """A page of sources; `next` is the cursor of the next one."""

    sources: list[SourceOut]
    next: str | None = None


class SourceIn(BaseModel):
    """A source to be."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["after-delivery"])
    connector: str = Field(examples=["typeform"], description=f"One of {', '.join(CONNECTORS)}.")
    settings: dict[str, Any] = Field(default_factory=dict, description="As the connector's page says.")
    secret: str | None = Field(default=None, description="The vendor's, where the vendor makes it; else one is made.")
    token: str | None = Field(
        default=None, description="The credential of the vendor's API, for connectors that fetch."
    )


class TokenIn(BaseModel):
    """The credential of the vendor's API."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(repr=False)


class SettingsIn(BaseModel):
    """Other settings of a source."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any]


class SecretIn(BaseModel):
    """A new secret; without one it is made."""

    model_config = ConfigDict(extra="forbid")

    secret: str | None = None


class SecretOut(BaseModel):
    """A secret: it is not shown again."""

    name: str
    connector: str
    path: str
    secret: str


class Retired(BaseModel):
    """How many secrets are useless now."""

    retired: int


class Rehearsal(BaseModel):
    """What the vendor's sample would become. Nothing of it is stored or published."""

    events: list[dict[str, Any]]
    skipped: dict[str, int]
    faults: list[FaultModel]


def add_routes(router: APIRouter, service: IngestService, admin: SourceAdmin, authenticator: Authenticator) -> None:
    """Put the routes on the router. All need the role operator."""
    operator = Annotated[Principal, Depends(authenticator.require(Role.OPERATOR))]
    _add_list(router, admin, operator)
    _add_changes(router, admin, operator)
    _add_secrets(router, admin, operator)
    _add_test(router, service, admin, operator)


def _add_list(router: APIRouter, admin: SourceAdmin, operator: Any) -> None:
    @router.get(
        "/v1/sources",
        summary="List sources",
        description="The vendors that may post here, without their secrets. Needs the role operator.",
        responses=problems(status_401=NO_KEY, status_403=NO_ROLE, status_503=_AWAY),
    )
    async def list_sources(
        principal: operator,
        after: Annotated[str, Query(max_length=80, description="`next` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 50,
    ) -> SourcePage:
        found = await admin.list(principal.workspace, after=after, limit=limit + 1)
        page = [_shown(view) for view in found[:limit]]
        return SourcePage(sources=page, next=page[-1].name if len(found) > limit else None)


def _add_changes(router: APIRouter, admin: SourceAdmin, operator: Any) -> None:
    refusals = problems(status_401=NO_KEY, status_403=NO_ROLE, status_404=_UNKNOWN, status_503=_AWAY)
    wrong = problems(status_422="A wrong setting or secret; `faults` has its path.")

    @router.post(
        "/v1/sources",
        status_code=201,
        summary="Add a source",
        description="The answer has the address for the vendor and the secret, once. Needs the role operator.",
        responses={**refusals, **wrong, **problems(status_409="There is a source of that name.")},
    )
    async def add_source(principal: operator, source: SourceIn) -> SecretOut:
        made = await admin.add(
            principal.workspace,
            source.name,
            source.connector,
            source.settings,
            secret=source.secret,
            token=source.token,
        )
        return _secret(made)

    @router.put(
        "/v1/sources/{name:path}/settings",
        summary="Replace the settings of a source",
        description="Dead letters that they mend can then be replayed. Needs the role operator.",
        responses={**refusals, **wrong},
    )
    async def configure_source(principal: operator, name: Name, wanted: SettingsIn) -> SourceOut:
        return _shown(await admin.configure(principal.workspace, name, wanted.settings))

    @router.post(
        "/v1/sources/{name:path}/disable",
        status_code=204,
        summary="Take no more deliveries from a source",
        description="They are answered as if it did not exist, within a few seconds. Needs the role operator.",
        responses=refusals,
    )
    async def disable_source(principal: operator, name: Name) -> None:
        await admin.disable(principal.workspace, name)

    @router.post(
        "/v1/sources/{name:path}/enable",
        status_code=204,
        summary="Take deliveries again",
        description="Needs the role operator.",
        responses=refusals,
    )
    async def enable_source(principal: operator, name: Name) -> None:
        await admin.enable(principal.workspace, name)


def _add_secrets(router: APIRouter, admin: SourceAdmin, operator: Any) -> None:
    refusals = problems(status_401=NO_KEY, status_403=NO_ROLE, status_404=_UNKNOWN, status_503=_AWAY)

    @router.post(
        "/v1/sources/{name:path}/rotate",
        summary="A new secret for a source",
        description="The one before stays good until `retire` or the next rotation. Needs the role operator.",
        responses={
            **refusals,
            **problems(status_422="The secret is not in the form that the vendor's signature needs."),
        },
    )
    async def rotate_source(principal: operator, name: Name, wanted: SecretIn) -> SecretOut:
        return _secret(await admin.rotate(principal.workspace, name, secret=wanted.secret))

    @router.post(
        "/v1/sources/{name:path}/token",
        status_code=204,
        summary="The credential of the vendor's API",
        description="For connectors that fetch; what waits for it is fetched at once. Sealed, and never shown. Needs "
        "the role operator.",
        responses={**refusals, **problems(status_422="The connector calls no API, or the token has no such form.")},
    )
    async def set_token(principal: operator, name: Name, wanted: TokenIn) -> None:
        await admin.set_token(principal.workspace, name, wanted.token)

    @router.post(
        "/v1/sources/{name:path}/retire",
        summary="Make every secret but the newest useless",
        description="Needs the role operator.",
        responses=refusals,
    )
    async def retire_source(principal: operator, name: Name) -> Retired:
        return Retired(retired=await admin.retire(principal.workspace, name))


def _add_test(router: APIRouter, service: IngestService, admin: SourceAdmin, operator: Any) -> None:
    @router.post(
        "/v1/sources/{name:path}/test",
        summary="Try a source with the vendor's sample",
        description="The sample is signed with the newest secret, verified and read as a delivery is; the answer is "
        "what would be published. Nothing is. Needs the role operator.",
        responses=problems(
            status_401=NO_KEY,
            status_403=NO_ROLE,
            status_404=_UNKNOWN,
            status_409="The source is disabled, or only the vendor can sign.",
            status_503=_AWAY,
        ),
    )
    async def test_source(principal: operator, name: Name) -> Rehearsal:
        source, path, enabled = await admin.ready(principal.workspace, name)
        if not enabled:
            raise Conflict(f"{name!r} is disabled: it takes no deliveries until it is enabled")
        try:
            message = with_proof(source.credential, sample(source.connector.name), source.secrets[0])
        except ValueError as error:
            raise Conflict(f"{error}: let the vendor send its test delivery") from None
        proven = await service.prove(path.rpartition("/")[2], message)
        return Rehearsal(**service.rehearse(proven, message))


def _shown(view: SourceView) -> SourceOut:
    return SourceOut(**{name: value for name, value in asdict(view).items() if name in SourceOut.model_fields})


def _secret(made: SourceSecret) -> SecretOut:
    return SecretOut(name=made.name, connector=made.connector, path=made.path, secret=made.secret)
