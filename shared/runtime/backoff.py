"""Waiting after a failure: longer each time, never all at once."""

import random


class Backoff:
    """Delays in seconds, doubling from `first` to `most`, each with jitter of ± 20 %."""

    def __init__(self, first: float = 0.1, most: float = 5.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def delay(self) -> float:
        """Seconds to wait now."""
        delay = self._next
        self._next = min(self._most, self._next * 2)
        return delay * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """After a success."""
        self._next = self._first
