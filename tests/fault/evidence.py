"""What is there: read from the services' own tables, the ledger beside them (service.py) and the log itself."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np

from services.scoring.domain.answers import ids_of
from services.scoring.repository.blocks import unpack
from shared.bus import codec
from shared.bus.connect import connect
from shared.bus.port import BusUnavailable, TopicPartition
from shared.contracts.topics import FEEDBACK_RECEIVED
from shared.core.errors import BadRecord, CloseloopError

GROUPS = ("scoring", "routing", "notifier")
# Where each service keeps what it knows of a piece of feedback.
OWN = {"routing": "routing.feedback", "notifier": "notifier.feedback"}
_TRIES = 60
_PAGE = 1000


class Evidence:
    """Reads with connections of its own, past any proxy, and again where an outage is in the way."""

    def __init__(self, database_url: str, bus_url: str, groups: Sequence[str] = GROUPS) -> None:
        self.groups = groups
        self._database_url = database_url
        self._bus_url = bus_url

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        for left in reversed(range(_TRIES)):
            try:
                connection = await asyncpg.connect(self._database_url, timeout=3, command_timeout=30)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                if not left:
                    raise
                await asyncio.sleep(0.5)
                continue
            try:
                return list(await connection.fetch(sql, *values))
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, TimeoutError):
                if not left:
                    raise
                await asyncio.sleep(0.5)
            finally:
                with suppress(OSError, asyncpg.PostgresError, TimeoutError):
                    await connection.close(timeout=2)
        raise AssertionError("not reached")

    async def value(self, sql: str, *values: Any) -> Any:
        """The first value of the first row."""
        return (await self.rows(sql, *values))[0][0]

    # effects

    async def unseen(self, group: str, events: Collection[UUID]) -> set[UUID]:
        """Which of `events` have no effect in the group yet."""
        found = await self.rows(
            "select id from unnest($1::uuid[]) as wanted (id) where not exists "
            f"(select from {group}.fault_effect where event_id = wanted.id)",
            list(events),
        )
        return {UUID(str(row[0])) for row in found}

    async def effects(self, group: str, events: Collection[UUID]) -> list[UUID]:
        """Effects of `events` in the group, in the order of their commits within a partition."""
        found = await self.rows(
            f"select event_id, place from {group}.fault_effect where event_id = any($1::uuid[]) order by n",
            list(events),
        )
        places: dict[Any, str | None] = {}
        for row in found:
            places.setdefault(row[0], row[1])
        # A group that knows repeats by its own state may see an event twice in the log, but no record twice.
        return [UUID(str(row[0])) for row in found if row[1] == places[row[0]]]

    async def waits(self, group: str, accepted: Mapping[UUID, float]) -> dict[UUID, float]:
        """Seconds from the acceptance of each event (Unix time) to its first effect in the group."""
        found = await self.rows(
            f"select event_id, extract(epoch from min(at))::float8 from {group}.fault_effect "
            "where event_id = any($1::uuid[]) group by event_id",
            list(accepted),
        )
        return {event: float(row[1]) - accepted[event] for row in found for event in (UUID(str(row[0])),)}

    async def known(self, group: str, feedback: Collection[UUID]) -> set[UUID]:
        """Which of these pieces of feedback the service's own table has."""
        if group == "scoring":
            return set(feedback) & {key for key, _ in await self._counted()}
        found = await self.rows(
            f"select feedback_id from {OWN[group]} where feedback_id = any($1::uuid[])", list(feedback)
        )
        return {UUID(str(row[0])) for row in found}

    async def uncounted(self) -> int:
        """Blocks of answers that wait for scoring's projector, which another process takes over from a dead one."""
        return int(await self.value("select count(*) from scoring.block where first_row is null"))

    async def miscounted(self) -> str | None:
        """Scoring's sums against its answers: a doubled effect makes a score wrong. None when they agree."""
        # Every answer of the load is one nps point in the series without a dimension.
        answers = sum(survey == "fault" for _, survey in await self._counted())
        counted = await self.value(
            "select coalesce(sum(day.n), 0) from scoring.day join scoring.series s on s.id = day.series "
            "and s.workspace = day.workspace where s.name = 'nps|transactional|'"
        )
        return None if answers == counted else f"scoring has {answers} answers and counts {counted} in its sums"

    async def _counted(self) -> list[tuple[UUID, str | None]]:
        """(feedback, survey) of every rated version that scoring counts and that is not removed."""
        found: list[tuple[UUID, str | None]] = []
        for stored in await self.rows("select * from scoring.block where first_row is not null"):
            block = unpack(stored["workspace"], stored["head"], stored["rows"])
            live = np.setdiff1d(np.flatnonzero(block.rows["parts"]), stored["dead"])
            said = [number for number, question in enumerate(block.questions) if question.metric == "sentiment"]
            live = live[~np.isin(block.rows["question"][live], said)]
            rows = block.rows[live][block.rows["removed"][live] == 0]
            surveys = (block.origins[origin].survey for origin in rows["origin"].tolist())
            found += zip(ids_of(rows), surveys, strict=True)
        return found

    async def moves(self) -> list[tuple[str, int, int]]:
        """Every move of every position."""
        return [
            (row[0], row[1], row[2])
            for group in self.groups
            for row in await self.rows(f"select place, before, after from {group}.fault_move order by n")
        ]

    # the log

    async def log(self) -> dict[int, list[tuple[int, UUID | None]]]:
        """Partition of feedback.received.v1 → (offset, event) of all its records; None where one cannot be read."""
        bus = connect(self._bus_url, self._database_url)
        for left in reversed(range(_TRIES)):
            try:
                await bus.start()
                break
            except BusUnavailable:
                if not left:
                    raise
        try:
            found: dict[int, list[tuple[int, UUID | None]]] = {}
            for partition, (first, end) in (await bus.offsets(FEEDBACK_RECEIVED.name)).items():
                records = found.setdefault(partition, [])
                at = first
                while at < end:
                    page = await bus.read(TopicPartition(FEEDBACK_RECEIVED.name, partition), at, _PAGE)
                    records += [(record.offset, _id(record)) for record in page]
                    at = page[-1].offset + 1
            return found
        finally:
            await bus.stop()

    # follow-ups

    async def followups(self, feedback: Collection[UUID]) -> list[Any]:
        """(id, state, transport, attempts, unknown attempts) of the follow-ups of these pieces of feedback."""
        return await self.rows(
            "select f.id, f.state, f.transport, f.attempts, (select count(*) from notifier.attempt a "
            "where a.workspace = f.workspace and a.followup_id = f.id and a.outcome in ('unknown', 'sending')) unknown "
            "from notifier.followup f where f.feedback_id = any($1::uuid[])",
            list(feedback),
        )

    async def letters(self, group: str) -> int:
        """Dead letters of feedback that wait in a group."""
        return int(
            await self.value(
                f"select count(*) from {group}.dead_letter where state = 'parked' and origin like $1 || '/feedback%'",
                group,
            )
        )


def _id(record: Any) -> UUID | None:
    try:
        return codec.decode(record).id
    except (BadRecord, CloseloopError):
        return None
