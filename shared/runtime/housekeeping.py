"""Housekeeping: what is kept only for a time goes in small steps, so that no step holds up live work."""

import asyncio

from shared.db.database import Database
from shared.runtime.patience import pause, through_outage

_EVERY_SECONDS = 600.0
_CHUNK = 5_000
# The same delivery has one effect for 90 days (P14); ended dead letters are kept as long as a question may come.
_RULES = (
    (
        "delete from processed_event where ctid = any(array(select ctid from processed_event "
        "where processed_at < now() - interval '90 days' limit :chunk))"
    ),
    (
        "delete from dead_letter where ctid = any(array(select ctid from dead_letter "
        "where state in ('replayed', 'dropped') and parked_at < now() - interval '30 days' limit :chunk))"
    ),
)


class Housekeeping:
    """A component of every service with runtime tables."""

    def __init__(self, database: Database) -> None:
        self.name = f"{database.schema}-housekeeping"
        self._database = database
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Tidy up every ten minutes until `stop`."""
        while not self._stopping.is_set():
            for rule in _RULES:
                while await through_outage(lambda rule=rule: self._apply(rule), stopping=self._stopping) == _CHUNK:  # type: ignore[misc]
                    await pause(0.1, self._stopping)
                    if self._stopping.is_set():
                        return
            await pause(_EVERY_SECONDS, self._stopping)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _apply(self, rule: str) -> int:
        async with self._database.unit_of_work() as uow:
            return (await uow.execute(rule, {"chunk": _CHUNK})).rowcount
