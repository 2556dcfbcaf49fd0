"""`closeloop dead-letters`: what could not be handled, why, and what to do with it."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from services.node.commands.running import fail, moment, table, with_database
from shared.bus import codec
from shared.db.database import Database
from shared.runtime.dead_letter_admin import DeadLetterAdmin

app = typer.Typer(help="Records that could not be handled: list, show, replay, drop.", no_args_is_help=True)
SERVICES = ("ingest", "scoring", "routing", "notifier")
T = TypeVar("T")
LetterId = Annotated[UUID | None, typer.Argument(help="One dead letter; without it all that --origin names.")]
Origin = Annotated[str | None, typer.Option(help="`group/topic`, `sources/<connector>` or `timers/<kind>`.")]
Max = Annotated[int, typer.Option("--max", min=1, help="At most this many.")]


@app.command("list")
def list_letters(
    state: Annotated[str, typer.Option(help="parked, replay, replayed, dropped or all.")] = "parked",
    origin: Origin = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """List dead letters, newest first."""
    wanted = None if state == "all" else state
    letters = _with_admin(lambda admin: admin.list(state=wanted, origin=origin, limit=limit))
    rows = [
        (
            str(letter.id),
            letter.service,
            letter.origin,
            moment(letter.parked_at),
            letter.state,
            str(letter.attempts),
            f"{letter.error_class}: {letter.error}"[:80],
        )
        for letter in letters
    ]
    table(("ID", "SERVICE", "ORIGIN", "PARKED", "STATE", "TRIES", "ERROR"), rows, "no dead letters: all was handled")


@app.command()
def show(letter_id: Annotated[UUID, typer.Argument()]) -> None:
    """Show one dead letter whole. It may hold what a customer wrote."""
    letter = _with_admin(lambda admin: admin.show(letter_id))
    if letter is None:
        fail(f"no dead letter {letter_id}")
    place = f"partition {letter.partition}, offset {letter.record_offset}" if letter.partition is not None else "-"
    for name, value in (
        ("id", letter.id), ("service", letter.service), ("origin", letter.origin), ("workspace", letter.workspace),
        ("place", place), ("parked", moment(letter.parked_at)), ("state", letter.state), ("tries", letter.attempts),
        ("error", f"{letter.error_class}: {letter.error}"),
    ):  # fmt: skip
        typer.echo(f"{name:10} {value}")
    for header, content in letter.headers:
        typer.echo(f"  {header}: {content.decode('utf-8', 'backslashreplace')}")
    typer.echo(letter.value.decode("utf-8", "backslashreplace"))


@app.command()
def replay(letter_id: LetterId = None, origin: Origin = None, most: Max = 100) -> None:
    """Run the original bytes through the same handler again; the running service does it within seconds."""
    _named(letter_id, origin)
    count = _with_admin(lambda admin: admin.replay(most=most, letter_id=letter_id, origin=origin))
    typer.echo(f"{count} marked for replay; `closeloop dead-letters list --state all` shows how they end")


@app.command()
def drop(letter_id: LetterId = None, origin: Origin = None, most: Max = 100) -> None:
    """Give dead letters up. They can still be read for 30 days."""
    _named(letter_id, origin)
    count = _with_admin(lambda admin: admin.drop(most=most, letter_id=letter_id, origin=origin))
    typer.echo(f"{count} dropped")


def _named(letter_id: UUID | None, origin: str | None) -> None:
    if letter_id is None and origin is None:
        fail("name a dead letter or an --origin; `closeloop dead-letters list` shows both")


def _with_admin(work: Callable[[DeadLetterAdmin], Awaitable[T]]) -> T:
    async def opened(url: str) -> T:
        databases = [Database(url, service, encode=codec.encode, pool_size=1) for service in SERVICES]
        try:
            return await work(DeadLetterAdmin(databases))
        finally:
            for database in databases:
                await database.stop()

    return with_database(opened)
