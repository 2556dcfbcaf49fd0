"""`closeloop keys`: API keys of a workspace. A key's text is shown once, when it is made."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from services.node.commands.running import fail, moment, table, with_database
from services.node.first_key import make_key
from shared.auth.keys import Role
from shared.bus import codec
from shared.db.database import Database
from shared.db.platform import ApiKeys

app = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)
Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Workspace of the key.", envvar="WORKSPACE")]

T = TypeVar("T")


def _with_keys(work: Callable[[ApiKeys], Awaitable[T]]) -> T:
    async def opened(url: str) -> T:
        database = Database(url, "platform", encode=codec.encode, pool_size=1)
        try:
            return await work(ApiKeys(database))
        finally:
            await database.stop()

    return with_database(opened)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, or the id of the team member who uses it.")],
    role: Annotated[list[Role], typer.Option("--role", "-r", help="May be given several times.")],
    workspace: Workspace = "main",
) -> None:
    """Make a key and print it; it cannot be shown again."""
    typer.echo(_with_keys(lambda keys: make_key(keys, workspace, name, tuple(role))))


@app.command("list")
def list_keys(
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only this one.")] = None,
) -> None:
    """List keys; never their secrets."""
    rows = [
        (
            key.id,
            key.workspace,
            key.name,
            ",".join(key.roles),
            moment(key.created_at),
            "revoked" if key.revoked_at else "live",
        )
        for key in _with_keys(lambda keys: keys.list(workspace))
    ]
    table(("ID", "WORKSPACE", "NAME", "ROLES", "MADE", "STATE"), rows, "no keys; make one with `closeloop keys create`")


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id, as `closeloop keys list` shows it.")]) -> None:
    """Make a key useless, within seconds everywhere."""
    if not _with_keys(lambda keys: keys.revoke(key_id)):
        fail(f"no live key with id {key_id}; `closeloop keys list` shows them")
    typer.echo(f"revoked {key_id}")
