"""`closeloop demo`: play the demo brand against a node that already runs."""

import asyncio
import signal
from typing import Annotated

import typer

from services.node.commands.running import with_database
from services.node.demo.director import Director


def demo(
    address: Annotated[str, typer.Option(help="Where the node listens.")] = "http://127.0.0.1:8080",
) -> None:
    """Play the demo brand Lale on a running node: history, live traffic, agents. Ctrl-C ends it.

    The node's own mail settings stay in force: customers have addresses at example.com, which lead nowhere.
    """

    async def work(url: str) -> None:
        director = Director(address.rstrip("/"), url, typer.echo)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: asyncio.ensure_future(director.stop()))
        await director.run()

    with_database(work)
