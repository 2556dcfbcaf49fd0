"""`closeloop migrate`: what a cluster runs before its services."""

import asyncio

import typer

from services.node.commands.running import with_database
from shared.db.migrate import upgrade


def migrate() -> None:
    """Bring the database to this version's schemas; `closeloop up` does it by itself, a cluster runs this first."""

    async def work(url: str) -> None:
        await asyncio.to_thread(upgrade, url)

    with_database(work)
    typer.echo("the database is up to date")
