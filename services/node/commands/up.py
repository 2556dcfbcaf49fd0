"""`closeloop up`: the whole product in one process."""

from pathlib import Path
from typing import Annotated

import typer

from services.node.commands.running import fail
from services.node.config import NodeSettings
from services.node.demo.brand import WORKSPACE
from shared.core.errors import CloseloopError
from shared.core.settings import load
from shared.runtime.loop import run
from shared.telemetry.logging import configure_logging
from shared.telemetry.tracing import configure_tracing


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Add a demo brand: history, live traffic, mails to nowhere.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="Port to listen on (HTTP_PORT); 0 takes any free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the database (DATA_DIR).")] = None,
) -> None:
    """Start closeloop on this machine. Ctrl-C stops it; the data stays."""
    given: dict[str, object] = {}
    if port is not None:
        given["http_port"] = port
    if data_dir is not None:
        given["data_dir"] = data_dir
    if demo:
        given["workspace"] = WORKSPACE
    try:
        settings = load(NodeSettings, **given)
        configure_logging(settings.log_level, settings.log_format)
        configure_tracing()
        # Imported here: a setting that is wrong is said before every service has been imported.
        from services.node.app import run_node
        from services.node.demo.show import Demo

        code = run(run_node(settings, _say, Demo() if demo else None))
    except CloseloopError as error:
        fail(error)
    except KeyboardInterrupt:  # before the supervisor took signals over
        code = 0
    raise typer.Exit(code)


def _say(text: str) -> None:
    typer.echo(text)
