"""`closeloop …`: start it, drive it, look into it."""

from typing import Annotated

import typer

from services.node.commands import dead_letters, demo, keys, sources, up
from services.node.commands.running import with_database
from services.node.commands.tail import tail
from shared.runtime.process import VERSION

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
app.add_typer(sources.app, name="sources")
app.add_typer(keys.app, name="keys")
app.add_typer(dead_letters.app, name="dead-letters")


@app.command()
def migrate() -> None:
    """Bring the database to this version's schemas; `closeloop up` does it by itself, a cluster runs this first."""

    async def work(url: str) -> None:
        import asyncio

        from shared.db.migrate import upgrade

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
    """Entry point of the `closeloop` script."""
    app()


if __name__ == "__main__":
    main()
