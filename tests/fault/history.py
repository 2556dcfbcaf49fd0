"""What a load generator did and was told, one fsynced line an attempt: what the checkers compare the tables with.

Outcomes, after Jepsen: `ok` (2xx: it must have its effects), `fail` (4xx: it must have none), `info` (5xx, a timeout, a
reset: it may have happened).
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

Outcome = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request: the `sequence`-th feedback of a customer, sent for the `number`-th time."""

    event: UUID
    feedback: UUID
    customer: int
    sequence: int
    number: int
    outcome: Outcome
    status: int
    at: float
    seconds: float
    address: str


def outcome_of(status: int) -> Outcome:
    """Of a status; 0 stands for a connection that gave none."""
    return "ok" if 200 <= status < 300 else "fail" if 400 <= status < 500 else "info"


class History:
    """Attempts in memory and in a file. Lines are written and fsynced by a thread of their own, some milliseconds'
    worth at a time, so that the disk does not pace the load."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attempts: list[Attempt] = []
        self.accepted: dict[UUID, Attempt] = {}
        self._waiting: list[Attempt] = []
        self._wake = threading.Event()
        self._closed = False
        self._file = path.open("a")
        self._thread = threading.Thread(target=self._keep, name="history", daemon=True)
        self._thread.start()

    def note(self, attempt: Attempt) -> None:
        """Add an attempt."""
        self.attempts.append(attempt)
        if attempt.outcome == "ok":
            self.accepted.setdefault(attempt.event, attempt)
        self._waiting.append(attempt)
        self._wake.set()

    def close(self) -> None:
        """Write the rest."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._file.close()

    def _keep(self) -> None:
        while not self._closed or self._waiting:
            self._wake.wait()
            self._wake.clear()
            lines, self._waiting = self._waiting, []
            self._file.writelines(json.dumps(asdict(line), default=str) + "\n" for line in lines)
            self._file.flush()
            os.fsync(self._file.fileno())

    # what checkers ask

    def failed(self) -> set[UUID]:
        """Events whose every attempt was refused: nobody may have seen them."""
        others = {attempt.event for attempt in self.attempts if attempt.outcome != "fail"}
        return {attempt.event for attempt in self.attempts} - others

    def unsure(self) -> set[UUID]:
        """Events that were never accepted and may have happened."""
        return {attempt.event for attempt in self.attempts if attempt.outcome == "info"} - self.accepted.keys()

    def places(self) -> dict[UUID, tuple[int, int]]:
        """Accepted event → (customer, sequence): a customer's are accepted in ascending sequence."""
        return {event: (attempt.customer, attempt.sequence) for event, attempt in self.accepted.items()}

    def between(self, began: float, ended: float) -> list[Attempt]:
        """Attempts that ended in this time (seconds since 1970)."""
        return [attempt for attempt in self.attempts if began <= attempt.at < ended]


def read(path: Path) -> Iterator[Attempt]:
    """The attempts of a file; a last line that a crash cut off is left out."""
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                fields = json.loads(line)
                yield Attempt(**{**fields, "event": UUID(fields["event"]), "feedback": UUID(fields["feedback"])})


def share_ok(attempts: Iterable[Attempt]) -> float:
    """Share of 2xx among attempts that were not ours to refuse (4xx)."""
    judged = [attempt.outcome for attempt in attempts if attempt.outcome != "fail"]
    return judged.count("ok") / len(judged) if judged else 1.0
