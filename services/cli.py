"""`closeloop …`: start it, drive it, look into it."""

import asyncio
import sys
from typing import Annotated

import typer

from services.node.commands import dead_letters, demo, keys, sources, topics, up
from services.node.commands.import_ import import_history
from services.node.commands.running import with_database
from services.node.commands.tail import tail
from shared.db.migrate import upgrade
from shared.runtime.process import VERSION
from shared.telemetry.logging import configure_logging, get_logger

app = typer.Typer(
    name="closeloop",
    help="Customer feedback in, scores, assignments and follow-ups out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(up.up)
app.command()(demo.demo)
app.command()(tail)
app.command("import")(import_history)
app.add_typer(sources.app, name="sources")
app.add_typer(keys.app, name="keys")
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")


@app.command()
def migrate() -> None:
    """Bring the database to this version's schemas; `closeloop up` does it by itself, a cluster runs this first."""

    async def work(url: str) -> None:
        await asyncio.to_thread(upgrade, url)

    with_database(work)
    typer.echo("the database is up to date")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options before a command."""
    if version:
        typer.echo(f"closeloop {VERSION}")
        raise typer.Exit


def main() -> None:
    """Entry point of the `closeloop` script. A bug ends in one line and a logged place, never in a stack trace."""
    try:
        app()
    except Exception as error:
        configure_logging()
        get_logger("closeloop").critical("bug", exc_info=error)
        typer.secho(f"closeloop: a bug of ours ({type(error).__name__}); please report the line above", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
