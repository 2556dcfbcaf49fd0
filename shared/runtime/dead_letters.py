"""Dead letters: records that cannot be handled, kept raw with the reason; and the limit that tells poison from bugs."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice, repeat
from typing import Any
from uuid import UUID

from shared.bus.port import Headers, Record, TopicPartition
from shared.core.errors import CloseloopError
from shared.core.ids import uuid7
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork, dump_headers
from shared.telemetry.metrics import DEAD_LETTERS

# More than 100 in a row, or more than 1 % of at least 2,000: then the handler is at fault, not the records (P5).
LIMIT_IN_A_ROW = 100
LIMIT_SHARE = 0.01
_WINDOW = 10_000
_LEAST_FOR_SHARE = 2_000
_JUST_BEFORE = """
select origin, partition, record_offset from dead_letter
join unnest(cast(:origins as text[]), cast(:partitions as int[]), cast(:offsets as bigint[]))
    as wanted (origin, partition, next) using (origin, partition)
where state = 'parked' and record_offset >= wanted.next - :limit and record_offset < wanted.next"""
_INSERT = """
insert into dead_letter (id, origin, workspace, partition, record_offset, key, value, headers,
                         error_class, error, attempts)
values (:id, :origin, :workspace, :partition, :record_offset, :key, :value, cast(:headers as json),
        :error_class, :error, :attempts)"""


class PoisonLimit:
    """Counts what a partition parked. `reached` before parking one more says: stop, a person must look."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._window: deque[bool] = deque(maxlen=_WINDOW)
        self._parked = 0

    def taken_over(self, in_a_row: int) -> None:
        """The partition's last owner, perhaps another process, parked so many in a row."""
        self._in_a_row = in_a_row

    def handled(self, count: int) -> None:
        """`count` records went through."""
        if count:
            self._in_a_row = 0
            self._note(False, min(count, _WINDOW))

    def parked(self) -> None:
        """One record became a dead letter."""
        self._in_a_row += 1
        self._note(True, 1)

    def reached(self) -> bool:
        """True when one more would be over the limit."""
        if self._in_a_row >= LIMIT_IN_A_ROW:
            return True
        return len(self._window) >= _LEAST_FOR_SHARE and (self._parked + 1) / len(self._window) > LIMIT_SHARE

    def _note(self, parked: bool, count: int) -> None:
        leaving = max(0, len(self._window) + count - _WINDOW)
        self._parked += count * parked - sum(islice(self._window, leaving))
        self._window.extend(repeat(parked, count))


async def parked_in_a_row(
    reader: Reader, group: str, offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """For each partition how many records right before the offset are dead letters that nobody has dealt with, as far
    as the limit: what is replayed or dropped does not count."""
    rows = await reader.all(
        _JUST_BEFORE,
        {
            "origins": [f"{group}/{partition.topic}" for partition in offsets],
            "partitions": [partition.partition for partition in offsets],
            "offsets": list(offsets.values()),
            "limit": LIMIT_IN_A_ROW,
        },
    )
    parked = {(row.origin, row.partition, row.record_offset) for row in rows}

    def count(partition: TopicPartition, offset: int) -> int:
        origin, number = f"{group}/{partition.topic}", partition.partition
        back = range(1, LIMIT_IN_A_ROW + 1)
        return next((n - 1 for n in back if (origin, number, offset - n) not in parked), LIMIT_IN_A_ROW)

    return {partition: count(partition, offset) for partition, offset in offsets.items()}


def describe(error: BaseException) -> str:
    """What is kept of an error: our own sentences whole; of others the class, as their text may hold customer data."""
    if isinstance(error, CloseloopError):
        faults = "; ".join(f"{fault.path}: {fault.reason}" for fault in error.faults)
        return f"{error.detail} ({faults})" if faults else error.detail
    return type(error).__name__


async def park_record(uow: UnitOfWork, group: str, record: Record, error: BaseException, attempts: int) -> UUID:
    """Keep a record of the bus as a dead letter, in the transaction that moves the position past it."""
    attributes = dict(record.headers)
    workspace = attributes.get("ce_workspace", b"").decode("utf-8", "replace").replace("\x00", "") or None
    return await park(
        uow,
        origin=f"{group}/{record.topic}",
        workspace=workspace,
        value=record.value,
        headers=record.headers,
        error=error,
        attempts=attempts,
        key=record.key,
        partition=record.partition,
        record_offset=record.offset,
    )


async def park(
    uow: UnitOfWork,
    *,
    origin: str,
    workspace: str | None,
    value: bytes,
    headers: Headers,
    error: BaseException,
    attempts: int = 1,
    key: bytes | None = None,
    partition: int | None = None,
    record_offset: int | None = None,
) -> UUID:
    """Keep raw bytes with the reason why they could not be handled."""
    letter = uuid7()
    await uow.execute(
        _INSERT,
        {
            "id": letter,
            "origin": origin,
            "workspace": workspace,
            "partition": partition,
            "record_offset": record_offset,
            "key": key,
            "value": value,
            "headers": dump_headers(headers),
            "error_class": type(error).__name__,
            "error": describe(error).replace("\x00", ""),
            "attempts": attempts,
        },
    )
    DEAD_LETTERS.labels(origin).inc()
    return letter


async def requested(uow: UnitOfWork, origins: Sequence[str]) -> Any:
    """The next dead letter that an operator asked to replay, locked, or None."""
    result = await uow.execute(
        "select * from dead_letter where state = 'replay' and origin = any(cast(:origins as text[])) "
        "order by parked_at limit 1 for update skip locked",
        {"origins": list(origins)},
    )
    return result.first()


async def settle(uow: UnitOfWork, letter: UUID, error: BaseException | None) -> None:
    """Note how a replay ended: replayed, or parked again with the new reason; nothing where another was quicker."""
    if error is None:
        await uow.execute(
            "update dead_letter set state = 'replayed' where id = :id and state = 'replay'", {"id": letter}
        )
        return
    await uow.execute(
        "update dead_letter set state = 'parked', attempts = attempts + 1, error_class = :error_class, error = :error "
        "where id = :id and state = 'replay'",
        {"id": letter, "error_class": type(error).__name__, "error": describe(error).replace("\x00", "")},
    )


async def park_timer(
    uow: UnitOfWork,
    *,
    kind: str,
    key: str,
    workspace: str,
    due_at: datetime,
    payload: Mapping[str, Any],
    error: BaseException,
) -> UUID:
    """Keep a timer whose handler fails."""
    body = json.dumps({"key": key, "due_at": due_at.isoformat(), "payload": payload}).encode()
    return await park(uow, origin=f"timers/{kind}", workspace=workspace, value=body, headers=(), error=error)
