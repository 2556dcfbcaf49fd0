"""`closeloop topics`: brings the contracts' topics to the bus. A plan first, then, if it is wanted, its doing."""

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from services.node.commands.running import run, with_database
from shared.bus.connect import POSTGRES, connect, topics_of
from shared.bus.plan import Action, Step, refuse_blocked
from shared.bus.port import Bus, BusUnavailable
from shared.bus.security import security_of
from shared.core.settings import Settings, load
from shared.telemetry.logging import configure_logging

app = typer.Typer(
    help="Topics of the bus that BUS_URL names: plan, apply, acls. They come from shared/contracts/topics.py.",
    no_args_is_help=True,
)
T = TypeVar("T")
DIFFERENT = 2  # exit code of `plan`, as `diff` has it: not wrong, but not the same
WAIT_SECONDS = 60.0
_RETRY_SECONDS = 0.5
_MARKS = {Action.CREATE: "+", Action.CHANGE: "~", Action.KEEP: " ", Action.REFUSE: "!"}
Brokers = Annotated[
    int, typer.Option(min=1, help="Wait up to a minute until so many brokers are there: replicas need them.")
]


@app.command()
def plan(brokers: Brokers = 1) -> None:
    """Show what `apply` would do; change nothing. Exit code: 0 nothing to do, 2 something, 1 not possible."""
    steps = _with_bus(lambda bus: _planned(bus, brokers))
    _show(steps)
    if any(step.action is Action.REFUSE for step in steps):
        raise typer.Exit(1)
    if any(step.action is not Action.KEEP for step in steps):
        raise typer.Exit(DIFFERENT)


@app.command()
def apply(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can answer.")] = False,
    brokers: Brokers = 1,
) -> None:
    """Show the plan, ask, then create and change topics. Exit code: 0 the topics are as they should be, else 1.

    Partitions and replicas of a topic that exists are never changed, and nothing that is kept now is shortened.
    """

    async def work(bus: Bus) -> None:
        steps = await _planned(bus, brokers)
        _show(steps)
        refuse_blocked(steps)
        if all(step.action is Action.KEEP for step in steps):
            return
        if not yes:
            await asyncio.to_thread(_ask)
        try:
            await bus.apply_topics(steps)
        except BusUnavailable as error:
            # What was asked for may be under way: the plan says what is left of it.
            typer.echo(f"closeloop: {error.detail}; looking again", err=True)
            await bus.apply_topics(await _planned(bus, brokers))
        typer.echo("done")

    _with_bus(work)


@app.command()
def acls(
    principal: Annotated[
        str, typer.Option(help="How users are called; {service} is ingest, scoring, routing, notifier or operator.")
    ] = "User:{service}",
) -> None:
    """Print what each service, and who runs these commands, must be allowed to do, as calls of kafka-acls.sh."""

    from services.node.access import Rule, rules

    async def work() -> list[Rule]:
        return rules()

    found = run(work)
    for who in dict.fromkeys(rule.who for rule in found):
        typer.echo(f"# {who}")
        for rule in found:
            if rule.who == who:
                words = shlex.join(rule.arguments(principal))
                typer.echo(f'kafka-acls.sh --bootstrap-server "$BROKER" --command-config "$ADMIN" --add {words}')


def _ask() -> None:
    if not sys.stdin.isatty():
        typer.echo("closeloop: nothing was changed, because nobody can be asked; add --yes", err=True)
        raise typer.Exit(1)
    if not typer.confirm("Do this?"):
        typer.echo("nothing was changed")
        raise typer.Exit(1)


async def _planned(bus: Bus, brokers: int) -> tuple[Step, ...]:
    """Brokers that are just coming up are waited for."""
    topics = topics_of(load(Settings).bus_url)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while True:
        try:
            return await bus.plan_topics(topics, brokers)
        except BusUnavailable:
            if loop.time() > deadline or brokers == 1:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


def _show(steps: tuple[Step, ...]) -> None:
    for step in steps:
        typer.echo(f"{_MARKS[step.action]} {step.action:9}  {step.wanted.name}")
        for line in step.why:
            typer.echo(f"      {line}")
    counts = {action: sum(step.action is action for step in steps) for action in Action}
    typer.echo(", ".join(f"{count} to {action}" if action is not Action.KEEP else f"{count} unchanged"
                         for action, count in counts.items() if count))  # fmt: skip


def _with_bus(work: Callable[[Bus], Awaitable[T]]) -> T:
    """Run async work on the started bus; the embedded database is only started where the bus lies in it."""
    settings = load(Settings)

    async def on(url: str) -> T:
        bus = connect(settings.bus_url, url, security_of(settings))
        try:
            await bus.start()
            return await work(bus)
        finally:
            await bus.stop()

    if settings.bus_url == POSTGRES:
        return with_database(on)
    configure_logging("warning", settings.log_format)
    return run(lambda: on(settings.database_url))
