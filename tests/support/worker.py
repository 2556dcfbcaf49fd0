"""A consumer in a process of its own, to be killed or frozen. It says `holding <n>` when a batch of n events is about
to be committed for the first time, and waits for a line on stdin before it goes on; then it consumes as any other.

python -m tests.support.worker DATABASE_URL GROUP [unfenced]
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from shared.bus import codec
from shared.contracts.envelope import Event
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.consumer import ConsumerLoop, Subscription
from shared.telemetry.logging import configure_logging
from tests.fault.unfenced import UnfencedPositions
from tests.support.harness import SCHEMA, started_bus


async def note(events: Sequence[Event[Any]], uow: UnitOfWork) -> None:
    """The effect: a row an event."""
    for event in events:
        await uow.execute("insert into effect (event_id) values (:id)", {"id": event.id})


class HoldingLoop(ConsumerLoop):
    """Freezes between fetch and transaction: the place where a zombie does harm without a fence."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._held = False

    async def _prepare(self, items: Sequence[Any]) -> None:
        if not self._held:
            self._held = True
            print(f"holding {len(items)}", flush=True)
            await asyncio.to_thread(sys.stdin.readline)


async def main(url: str, group: str, unfenced: bool) -> None:
    configure_logging("warning", "json")
    database = Database(url, SCHEMA, encode=codec.encode)
    async with started_bus(url) as bus:
        loop = HoldingLoop(bus, database, Subscription(group, (FEEDBACK_RECEIVED,), note))
        if unfenced:
            loop._positions = UnfencedPositions(database, group, "zombie")
        try:
            await loop.run()
        finally:
            await database.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], "unfenced" in sys.argv[3:]))
