"""Replays of dead letters: the original bytes through the same handler, one transaction each, on an operator's word."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from shared.bus import codec
from shared.bus.port import PlainRecord
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork, load_headers
from shared.db.wakeup import wait
from shared.runtime import dead_letters
from shared.runtime.consumer import Subscription
from shared.runtime.patience import is_outage_of_ours, through_outage
from shared.runtime.positions import Positions
from shared.runtime.timers import Timer, TimerHandler
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
Mend = Callable[[Any, UnitOfWork], Awaitable[None]]
"""Handles one dead letter (a row of dead_letter) inside a unit of work; raises when it still cannot be handled."""


class Replays:
    """Watches for dead letters in state `replay` and runs each through its origin's handler. A component."""

    def __init__(self, database: Database, wakeup: asyncio.Event, menders: Mapping[str, Mend]) -> None:
        self.name = f"{database.schema}-replays"
        self._database = database
        self._wakeup = wakeup
        self._menders = dict(menders)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Replay until `stop`."""
        while not self._stopping.is_set():
            if not await through_outage(self._replay_one, stopping=self._stopping):
                await wait(self._wakeup, timeout_seconds=2.0)

    async def stop(self) -> None:
        """Finish the one in work."""
        self._stopping.set()
        self._wakeup.set()

    async def _replay_one(self) -> bool:
        letter: Any = None
        try:
            async with self._database.unit_of_work() as uow:
                letter = await dead_letters.requested(uow, list(self._menders))
                if letter is None:
                    return False
                await self._menders[letter.origin](letter, uow)
                await dead_letters.settle(uow, letter.id, None)
        except Exception as error:  # kept with the letter: this is what the operator wants to see
            if letter is None or is_outage_of_ours(error):
                raise
            async with self._database.unit_of_work() as uow:
                await dead_letters.settle(uow, letter.id, error)
            log.warning("replay_failed", letter=str(letter.id), origin=letter.origin, error=type(error).__name__)
            return True
        log.info("dead_letter_replayed", letter=str(letter.id), origin=letter.origin)
        return True


def menders_of(database: Database, subscription: Subscription) -> dict[str, Mend]:
    """How to replay a subscription's dead letters: claim the event id as its first handling would have, then handle."""
    if subscription.raw:
        return {f"{subscription.group}/{topic.name}": _raw_mender(subscription) for topic in subscription.topics}
    positions = Positions(database, subscription.group, owner="replay")

    async def mend(letter: Any, uow: UnitOfWork) -> None:
        event = codec.decode_parts(load_headers(letter.headers), letter.value)
        if subscription.prepare is not None:
            await asyncio.to_thread(subscription.prepare, [event])
        if await positions.claim(uow, [event.id]):
            await subscription.handle([event], uow)

    return {f"{subscription.group}/{topic.name}": mend for topic in subscription.topics}


def _raw_mender(subscription: Subscription) -> Mend:
    async def mend(letter: Any, uow: UnitOfWork) -> None:
        topic = letter.origin.removeprefix(f"{subscription.group}/")
        headers = load_headers(letter.headers)
        partition, offset, key = letter.partition, letter.record_offset, letter.key or b""
        record = PlainRecord(topic, partition, offset, key, letter.value, headers)
        await subscription.handle([record], uow)

    return mend


def menders_of_timers(handlers: Mapping[str, TimerHandler]) -> dict[str, Mend]:
    """How to replay timers whose handler failed."""

    def mender(kind: str, handle: TimerHandler) -> Mend:
        async def mend(letter: Any, uow: UnitOfWork) -> None:
            kept = json.loads(letter.value)
            due_at = datetime.fromisoformat(kept["due_at"])
            await handle([Timer(kind, kept["key"], letter.workspace, due_at, kept["payload"])], uow)

        return mend

    return {f"timers/{kind}": mender(kind, handle) for kind, handle in handlers.items()}
