"""`closeloop …`: start it, drive it, look into it."""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

# Where each command is: a function, or an app with commands of its own. In the order of the help.
_PLACES = {
    "up": ("up", "up"),
    "demo": ("demo", "demo"),
    "tail": ("tail", "tail"),
    "import": ("import_", "import_history"),
    "migrate": ("migrate", "migrate"),
    "sources": ("sources", "app"),
    "keys": ("keys", "app"),
    "topics": ("topics", "app"),
    "dead-letters": ("dead_letters", "app"),
}
_PLAIN: dict[str, Any] = {"pretty_exceptions_enable": False, "add_completion": False}


class _Commands(dict[str, Any]):
    """Commands by name; one is imported when it is asked for: all of them take a second, and one is run."""

    def __getitem__(self, name: str) -> Any:
        module, found = super().__getitem__(name)
        return _command(name, getattr(import_module(f"services.node.commands.{module}"), found))

    def get(self, name: str, default: Any = None) -> Any:
        """As of any dictionary."""
        return self[name] if name in self else default  # noqa: SIM401 - this is that `get`


class _OnDemand(TyperGroup):
    """The commands of `_PLACES`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(_PLACES)


def _command(name: str, found: Any) -> Any:
    """What typer makes of a function or of an app, under a name."""
    holder = typer.Typer(**_PLAIN)
    holder.callback()(_nothing)  # with it even one command stays a named one
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    group: Any = get_command(holder)
    return group.commands[name]


app = typer.Typer(
    name="closeloop",
    cls=_OnDemand,
    help="Customer feedback in, scores, assignments and follow-ups out.",
    no_args_is_help=True,
    **_PLAIN,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options before a command."""
    if version:
        from shared.runtime.process import VERSION

        typer.echo(f"closeloop {VERSION}")
        raise typer.Exit


def _nothing() -> None:
    """The root of `_command`."""


def main() -> None:
    """Entry point of the `closeloop` script. A bug ends in one line and a logged place, never in a stack trace."""
    try:
        app()
    except Exception as error:
        from shared.telemetry.logging import configure_logging, get_logger

        configure_logging()
        get_logger("closeloop").critical("bug", exc_info=error)
        typer.secho(f"closeloop: a bug of ours ({type(error).__name__}); please report the line above", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
