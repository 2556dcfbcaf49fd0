"""Freeze points, for tests only: places between two steps of a promise where a process stops or kills itself.

Random kills hardly ever meet the moment between a fetch and its commit. With FAULT=before_commit:stop:3 in its
environment a process sends itself SIGSTOP the third time it gets there (`kill`: SIGKILL); `outbox.after_send:kill:1`
means the place in one part alone. Never set it where real feedback is handled; unset, a place costs one comparison.
"""

import os
import signal
from typing import Literal

from shared.core.settings import SettingsError

Place = Literal["after_fetch", "before_commit", "after_claim", "after_send", "before_mark"]
Part = Literal["consumer", "timers", "outbox", "delivery"]
PLACES = ("after_fetch", "before_commit", "after_claim", "after_send", "before_mark")
PARTS = ("consumer", "timers", "outbox", "delivery")
_SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}


class Fault:
    """What FAULT says, and how many passages are left until it happens."""

    def __init__(self, setting: str) -> None:
        """Raises SettingsError for what is not `[part.]place:stop|kill[:passage]`."""
        where, _, rest = setting.partition(":")
        action, _, passage = rest.partition(":")
        part, _, place = where.rpartition(".")
        known = place in PLACES and part in ("", *PARTS) and action in _SIGNALS
        if not known or not (passage or "1").isdigit() or int(passage or 1) < 1:
            raise SettingsError(
                f"FAULT: {setting!r} is not of the form [part.]place:stop|kill[:passage]; places are "
                f"{', '.join(PLACES)}, parts {', '.join(PARTS)}. It is for tests only: leave it unset"
            )
        self._place, self._part, self._signal = place, part, _SIGNALS[action]
        self._left = int(passage or 1)

    def reached(self, place: Place, part: Part) -> None:
        """Count the passage; at the last one send this process the signal."""
        if place == self._place and self._part in ("", part):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


_fault = Fault(os.environ["FAULT"]) if os.environ.get("FAULT") else None


def reached(place: Place, part: Part) -> None:
    """Nothing, unless a test has set FAULT."""
    if _fault is not None:
        _fault.reached(place, part)
