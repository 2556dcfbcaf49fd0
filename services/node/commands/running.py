"""How a command runs: settings, logging, one event loop; errors end in one line that says what to do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import NoReturn, TypeVar

import typer

from services.node.local import database_url
from shared.core.clock import rfc3339
from shared.core.errors import CloseloopError
from shared.core.settings import Settings, load
from shared.telemetry.logging import configure_logging

T = TypeVar("T")


def fail(error: CloseloopError | str) -> NoReturn:
    """One line on stderr, exit code 1."""
    text = error if isinstance(error, str) else error.detail
    faults = () if isinstance(error, str) else error.faults
    typer.secho(f"closeloop: {text}", err=True, fg=typer.colors.RED)
    for fault in faults:
        typer.echo(f"  {fault.path}: {fault.reason}", err=True)
    raise typer.Exit(1)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run async work; a CloseloopError ends in one line, Ctrl-C in silence."""
    try:
        return asyncio.run(_awaited(work))
    except CloseloopError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def with_database(work: Callable[[str], Awaitable[T]]) -> T:
    """Run async work that gets the address of this machine's database."""

    async def open_and_work() -> T:
        settings = load(Settings)
        configure_logging("warning", settings.log_format)
        async with database_url(settings) as url:
            return await work(url)

    return run(open_and_work)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], empty: str) -> None:
    """Rows under a header, in columns; `empty` where there are none."""
    if not rows:
        typer.echo(empty)
        return
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(value: datetime) -> str:
    """A time as tables show it: UTC, to the second."""
    return rfc3339(value.replace(microsecond=0))


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
