"""How much of the door there is, and how much of it one workspace may take: told before a body is read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.core.errors import TooManyRequests, Unavailable

# A workspace that was quiet may send so many seconds' worth at once.
_BURST_SECONDS = 2.0


class Fairness:
    """A token bucket for each workspace, and a cap on requests under way in this process."""

    def __init__(self, per_second: float, in_flight: int) -> None:
        self._per_second = per_second
        self._in_flight = in_flight
        self._under_way = 0
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, workspace: str) -> None:
        """Take a request off the bucket of a workspace. Raises TooManyRequests with the seconds until there is one."""
        tokens, now = self._tokens(workspace)
        if tokens < 1:
            raise TooManyRequests(
                f"more than {self._per_second:g} requests a second of one workspace; send it again after Retry-After",
                retry_after_seconds=max(1, round((1 - tokens) / self._per_second)),
            )
        self._buckets[workspace] = tokens - 1, now

    def takes_in(self, workspace: str) -> bool:
        """`enter` and `admit` at once, where nobody is told why not."""
        tokens, now = self._tokens(workspace)
        if tokens < 1 or self._under_way >= self._in_flight:
            return False
        self._under_way += 1
        self._buckets[workspace] = tokens - 1, now
        return True

    def _tokens(self, workspace: str) -> tuple[float, float]:
        now = time.monotonic()
        most = self._per_second * _BURST_SECONDS
        tokens, at = self._buckets.get(workspace, (most, now))
        return min(most, tokens + (now - at) * self._per_second), now

    def give_back(self, workspace: str) -> None:
        """Undo an `admit`."""
        tokens, at = self._buckets[workspace]
        self._buckets[workspace] = tokens + 1, at

    def enter(self) -> None:
        """Take a place for a request, until `leave`. Raises Unavailable where all are taken."""
        if self._under_way >= self._in_flight:
            raise Unavailable("too many requests are under way here; send it again in a moment", retry_after_seconds=1)
        self._under_way += 1

    def leave(self) -> None:
        """Give the place back."""
        self._under_way -= 1

    @contextmanager
    def room(self) -> Iterator[None]:
        """Hold a place for a request. Raises Unavailable where all are taken."""
        self.enter()
        try:
            yield
        finally:
            self.leave()
