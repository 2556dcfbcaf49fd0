"""What went wrong, out of what was promised and what is there. Pure functions: each is shown its planted fault in
test_checkers.py."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")
Place = tuple[int, int]  # (customer, sequence)


def lost(accepted: Collection[UUID], processed: Collection[UUID]) -> set[UUID]:
    """Accepted, and nobody knows of it."""
    return set(accepted) - set(processed)


def phantom(processed: Collection[UUID], failed: Collection[UUID]) -> set[UUID]:
    """Refused, and there all the same."""
    return set(processed) & set(failed)


def duplicates(effects: Iterable[T]) -> dict[T, int]:
    """Effect → how many times too many it happened."""
    return {effect: count - 1 for effect, count in Counter(effects).items() if count > 1}


def unexplained(deliveries: Iterable[str], unknown: Mapping[str, int]) -> dict[str, int]:
    """Message → deliveries beyond the first that no attempt shown as unknown explains."""
    extra = duplicates(deliveries)
    return {
        message: count - unknown.get(message, 0) for message, count in extra.items() if count > unknown.get(message, 0)
    }


def skips(offsets: Iterable[int], first: int, end: int) -> list[int]:
    """Offsets of a partition from `first` up to `end` (exclusive) that are not there."""
    return sorted(set(range(first, end)) - set(offsets))


def inversions(effects: Iterable[UUID], places: Mapping[UUID, Place]) -> list[tuple[int, int, int]]:
    """(customer, sequence, later sequence whose effect came first), over the first effect of each accepted event."""
    found: list[tuple[int, int, int]] = []
    latest: dict[int, int] = {}
    seen: set[UUID] = set()
    for effect in effects:
        if effect in seen or effect not in places:
            continue
        seen.add(effect)
        customer, sequence = places[effect]
        if sequence < latest.get(customer, -1):
            found.append((customer, sequence, latest[customer]))
        latest[customer] = max(sequence, latest.get(customer, -1))
    return found


def backwards(moves: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """(partition of a group, from, to) of moves of a position that go back: somebody without a right to it wrote."""
    return [move for move in moves if move[2] < move[1]]


def slower(quiet: Collection[float], troubled: Collection[float]) -> float:
    """How much longer (s) the slowest hundredth of the troubled waited than that of the quiet; 0 where nobody was."""

    def slowest(waits: Collection[float]) -> float:
        return sorted(waits)[int(0.99 * (len(waits) - 1))]

    return slowest(troubled) - slowest(quiet) if quiet and troubled else 0.0


@dataclass
class Findings:
    """What a promise is judged by. `notes` are broken promises of other kinds, in words."""

    events: int = 0
    lost: int = 0
    phantom: int = 0
    duplicates: int = 0
    inversions: int = 0
    skips: int = 0
    backwards: int = 0
    unknown: int = 0  # deliveries that happened twice and are shown as unknown: allowed, and counted
    recovery_seconds: float | None = None
    recovery_bound: float | None = None
    notes: list[str] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)

    def passed(self) -> bool:
        """Nothing was lost, invented, doubled or turned round, and all was well again in time."""
        counts = (self.lost, self.phantom, self.duplicates, self.inversions, self.skips, self.backwards)
        return self.events > 0 and not any(counts) and not self.notes and self.recovered()

    def recovered(self) -> bool:
        """Within the bound, where there is one."""
        if self.recovery_bound is None:
            return True
        return self.recovery_seconds is not None and self.recovery_seconds <= self.recovery_bound

    def found(self, kind: str, what: Collection[object]) -> int:
        """Keep an example of a fault for the report; how many there are."""
        if what:
            self.examples.setdefault(kind, ", ".join(str(one) for one in list(what)[:3]))
        return len(what)
