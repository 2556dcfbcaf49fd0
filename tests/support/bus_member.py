"""A member of a consumer group in a process of its own, to be killed. Prints how many partitions it has, when changed.

python -m tests.support.bus_member BUS_URL DATABASE_URL GROUP TOPIC
"""

import asyncio
import sys

from shared.bus.connect import connect
from tests.support.bus import Listener, consuming, started


async def main(bus_url: str, database_url: str, group: str, topic: str) -> None:
    async with started(connect(bus_url, database_url)) as bus, consuming(bus, group, topic, Listener()) as consumer:
        shown = -1
        while True:
            await consumer.fetch(100, 0.05)
            if (owned := len(consumer.assignment())) != shown:
                shown = owned
                print(owned, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
