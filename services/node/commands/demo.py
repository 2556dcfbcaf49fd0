"""`closeloop demo`: play the demo brand against a node or a cluster that already runs."""

import asyncio
import signal
from typing import Annotated

import typer

from services.node.commands.running import with_database
from services.node.demo.director import Director

DEFAULT_ADDRESS = "http://127.0.0.1:8080"


def demo(
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the node listens (http://127.0.0.1:8080). For a cluster: the address of every service, each "
            "with an --address of its own."
        ),
    ] = None,
) -> None:
    """Play the demo brand Lale on a running node or cluster: history, live traffic, agents. Ctrl-C ends it.

    The node's own mail settings stay in force: customers have addresses at example.com, which lead nowhere.
    """

    async def work(url: str) -> None:
        director = Director([one.rstrip("/") for one in address or (DEFAULT_ADDRESS,)], url, typer.echo)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: asyncio.ensure_future(director.stop()))
        await director.run()

    with_database(work)
