"""`closeloop sources test`: post the vendor's sample through the real path, and show what it would become."""

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from services.ingest.admin import SourceAdmin
from services.ingest.directory import Source
from services.ingest.endpoints import TEST_HEADER
from services.ingest.sources.proof import with_proof
from services.ingest.sources.samples import sample
from services.node.commands.running import fail
from shared.auth.signatures import Signed
from shared.core.errors import CloseloopError

_SECONDS = 15.0
Url = Annotated[str, typer.Option(help="Address of closeloop, as the vendor sees it.", envvar="CLOSELOOP_URL")]
Body = Annotated[
    Path | None, typer.Option("--body", help="A body of the vendor to try in place of the sample.", dir_okay=False)
]


async def rehearsed(admin: SourceAdmin, workspace: str, name: str, url: str, body: Path | None) -> dict[str, Any]:
    """What the installation at `url` answers to the signed sample. Raises CloseloopError with what to do."""
    source, path, enabled = await admin.ready(workspace, name)
    if not enabled:
        raise CloseloopError(f"{name} is off: `closeloop sources enable {name}` first")
    message = _signed(source, body)
    headers = {**message.headers, TEST_HEADER: "1"}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
            answer = await client.post(url.rstrip("/") + path, content=message.body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CloseloopError(
            f"{url} does not answer ({type(error).__name__}); is it running? --url says where"
        ) from None
    try:
        answered: dict[str, Any] = answer.json()
    except ValueError:
        answered = {}
    if answer.status_code != httpx.codes.OK or "events" not in answered:
        detail = answered.get("detail") or "no closeloop answers there"
        raise CloseloopError(f"{url}{path[:20]}… answered {answer.status_code}: {detail}")
    return answered


def show(name: str, answered: dict[str, Any]) -> None:
    """What came out, for people; exit code 1 where nothing would be published."""
    for event in answered["events"]:
        typer.secho(event.pop("type"), fg=typer.colors.GREEN)
        typer.echo(json.dumps(event, indent=2, ensure_ascii=False))
    for reason, number in answered["skipped"].items():
        typer.echo(f"left out: {reason} ({number})")
    for fault in answered["faults"]:
        typer.secho(f"{fault['path']}: {fault['reason']}", fg=typer.colors.RED)
    if answered["faults"]:
        fail(f"{name} would keep this as a dead letter; mend its settings with `closeloop sources configure {name}`")
    count = len(answered["events"])
    typer.echo(f"{name} is well: verified, {count} event{'' if count == 1 else 's'}. Nothing was published.", err=True)


def _signed(source: Source, body: Path | None) -> Signed:
    message = sample(source.connector.name)
    if body is not None:
        try:
            message = Signed(body.read_bytes(), message.headers)
        except OSError as error:
            raise CloseloopError(f"{body} cannot be read: {error.strerror}") from None
    try:
        return with_proof(source.credential, message, source.secrets[0])
    except ValueError as error:
        raise CloseloopError(f"{error}: let the vendor send its test delivery") from None
