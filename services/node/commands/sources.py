"""`closeloop sources`: who may post webhooks, and how they prove it. A secret is shown once, when it is made."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from services.ingest.admin import SourceAdmin, SourceSecret
from services.ingest.cipher import cipher_of
from services.ingest.config import IngestSettings
from services.ingest.sources import CONNECTORS
from services.node.commands import source_test
from services.node.commands.running import fail, moment, table, with_database
from shared.bus import codec
from shared.core.settings import load
from shared.db.database import Database

app = typer.Typer(
    help="Webhook sources: add, list, test, configure, token, rotate, retire, disable, enable.", no_args_is_help=True
)
T = TypeVar("T")
Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Workspace of the source.", envvar="WORKSPACE")]
Name = Annotated[str, typer.Argument(help="Name of the source; its events carry it.")]
Given = Annotated[str | None, typer.Option(help="The vendor's secret, where the vendor makes it; else one is made.")]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="YAML or JSON file: channel, touchpoint, field map, … See the README.")
]


@app.command()
def add(
    connector: Annotated[str, typer.Argument(help=f"One of {', '.join(sorted(CONNECTORS))}.")],
    name: Name,
    settings: SettingsFile = None,
    secret: Given = None,
    token: Annotated[
        bool, typer.Option("--token", help="Ask for the token of the vendor's API, or read it from standard input.")
    ] = False,
    workspace: Workspace = "main",
) -> None:
    """Add a source and print where the vendor posts and with which secret."""
    document = _document(settings)
    given = _token() if token else None
    _shown(_with_admin(lambda admin: admin.add(workspace, name, connector, document, secret=secret, token=given)))


@app.command("list")
def list_sources(workspace: Workspace = "main") -> None:
    """List the sources of a workspace; never their secrets."""
    rows = [
        (view.name, view.connector, view.path, "on" if view.enabled else "off", str(view.active_secrets),
         moment(view.created_at))
        for view in _with_admin(lambda admin: admin.list(workspace))
    ]  # fmt: skip
    empty = f"no sources in {workspace}; add one with `closeloop sources add`"
    table(("NAME", "CONNECTOR", "PATH", "STATE", "SECRETS", "MADE"), rows, empty)


@app.command("test")
def try_out(
    name: Name,
    url: source_test.Url = "http://127.0.0.1:8080",
    body: source_test.Body = None,
    workspace: Workspace = "main",
) -> None:
    """Post the vendor's sample, signed, to the running installation and show what it would become. Nothing is
    published."""
    source_test.show(name, _with_admin(lambda admin: source_test.rehearsed(admin, workspace, name, url, body)))


@app.command()
def configure(name: Name, settings: SettingsFile, workspace: Workspace = "main") -> None:
    """Replace a source's settings; dead letters that they mend can then be replayed."""
    document = _document(settings)
    view = _with_admin(lambda admin: admin.configure(workspace, name, document))
    typer.echo(f"{view.name}: {json.dumps(dict(view.settings), ensure_ascii=False)}")


@app.command("token")
def set_token(name: Name, workspace: Workspace = "main") -> None:
    """Replace the token of the vendor's API: asked for, or read from standard input (`… < AuthKey.p8`)."""
    given = _token()
    _with_admin(lambda admin: admin.set_token(workspace, name, given))
    typer.echo(f"{name}: the token is set; what waited for it is fetched now")


@app.command()
def rotate(name: Name, secret: Given = None, workspace: Workspace = "main") -> None:
    """Make a new secret; the one before stays good until `retire`, so that no delivery is refused in between."""
    _shown(_with_admin(lambda admin: admin.rotate(workspace, name, secret=secret)))


@app.command()
def retire(name: Name, workspace: Workspace = "main") -> None:
    """Make every secret but the newest useless."""
    count = _with_admin(lambda admin: admin.retire(workspace, name))
    typer.echo(f"{name}: {count} old secrets retired")


@app.command()
def disable(name: Name, workspace: Workspace = "main") -> None:
    """Take no more deliveries from a source."""
    _with_admin(lambda admin: admin.disable(workspace, name))
    typer.echo(f"{name} is off")


@app.command()
def enable(name: Name, workspace: Workspace = "main") -> None:
    """Take deliveries again."""
    _with_admin(lambda admin: admin.enable(workspace, name))
    typer.echo(f"{name} is on")


def _token() -> str:
    """Never an argument: those stand in the shell's history and in the list of processes."""
    if sys.stdin.isatty():
        asked: str = typer.prompt("Token of the vendor's API", hide_input=True)
        return asked
    return sys.stdin.read()


def _document(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        fail(f"{path} cannot be read: {str(error).splitlines()[0]}")
    if not isinstance(document, dict):
        fail(f"{path} must hold a mapping of settings")
    return document


def _shown(source: SourceSecret) -> None:
    typer.echo(f"name    {source.name} ({source.connector})")
    typer.echo(f"path    {source.path}")
    typer.echo(f"secret  {source.secret}")
    typer.echo("The secret is not shown again.", err=True)


def _with_admin(work: Callable[[SourceAdmin], Awaitable[T]]) -> T:
    async def opened(url: str) -> T:
        settings = load(IngestSettings)
        database = Database(url, "ingest", encode=codec.encode, pool_size=1)
        try:
            return await work(SourceAdmin(database, cipher_of(settings.secrets_key, settings.data_dir)))
        finally:
            await database.stop()

    return with_database(opened)
