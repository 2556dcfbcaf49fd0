"""What the consumer loop handles together: runs of records, one a partition, that can be cut anywhere."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.bus import codec
from shared.bus.port import Record, TopicPartition
from shared.contracts.envelope import Event
from shared.core.errors import BadRecord
from shared.runtime.dead_letters import PoisonLimit
from shared.runtime.positions import Move, Position


@dataclass
class Held:
    """A partition that is ours."""

    position: Position
    poison: PoisonLimit
    moved_at: float = field(default_factory=time.monotonic)
    stopped: bool = False

    def touch(self) -> None:
        """The watchdog waits from now on."""
        self.moved_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Item:
    """A record with its event, or with the reason why it cannot be read."""

    record: Record
    event: Event[Any] | None
    error: BadRecord | None


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition that follow each other; never empty. `items` are the same records read, or [] where
    the handler reads them itself, as long as it has not met one that cannot be read."""

    partition: TopicPartition
    held: Held
    records: list[Record]
    items: list[Item]

    @property
    def first(self) -> int:
        """The offset of its first record."""
        return self.records[0].offset

    @property
    def after(self) -> int:
        """The offset behind its last record."""
        return self.records[-1].offset + 1

    @property
    def unreadable(self) -> BadRecord | None:
        """Why its first record cannot be read, if it cannot."""
        return self.items[0].error if self.items else None

    @property
    def move(self) -> Move:
        """How the position moves when all of it is handled."""
        return Move(self.partition, self.held.position, self.after)


def decoded(record: Record) -> Item:
    """Never raises: what cannot be read is an item too."""
    try:
        return Item(record, codec.decode(record), None)
    except BadRecord as error:
        return Item(record, None, error)


def size_of(runs: Iterable[Run]) -> int:
    """Records of all runs."""
    return sum(len(run.records) for run in runs)


def cut(runs: Iterable[Run], limit: int) -> tuple[list[Run], list[Run]]:
    """The first `limit` records, and the rest."""
    head: list[Run] = []
    rest: list[Run] = []
    for run in runs:
        taken, left = run.records[:limit], run.records[limit:]
        head += [replace(run, records=taken, items=run.items[:limit])] if taken else []
        rest += [replace(run, records=left, items=run.items[limit:])] if left else []
        limit -= len(taken)
    return head, rest


def until_unreadable(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """What stands before the first unreadable record of each partition, and the rest."""
    head: list[Run] = []
    rest: list[Run] = []
    for run in runs:
        first = next((n for n, item in enumerate(run.items) if item.error), None)
        before, behind = ([run], []) if first is None else cut([run], first)
        head += before
        rest += behind
    return head, rest


def read_anew(runs: Sequence[Run]) -> list[Run]:
    """Runs that only the handler has read, which did not tell which record is the bad one; empty where all can be
    read, or were before."""
    found = [replace(run, items=list(map(decoded, run.records))) for run in runs if not run.items]
    return found if any(item.error for run in found for item in run.items) else []
