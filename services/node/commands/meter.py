"""How far a long transfer is: a bar that is drawn over on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable

_LINE_SECONDS = 5.0
_BAR = 24


class Meter:
    """Writes to stderr. `rows` and `bytes_done` are those of an earlier run, which do not count for the rate."""

    def __init__(
        self, total_bytes: int, rows: int = 0, bytes_done: int = 0, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = max(total_bytes, 1)
        self._rows = rows
        self._bytes = bytes_done
        self._now = now
        self._begun = self._shown = now()
        self._terminal = sys.stderr.isatty()
        self._drawn = False

    def show(self, rows: int, bytes_done: int) -> None:
        """Tell the counts since the beginning of the file, as often as it is worth it."""
        now = self._now()
        if self._terminal:
            self._drawn = True
            sys.stderr.write(f"\r{self.line(rows, bytes_done)}\x1b[K")
            sys.stderr.flush()
        elif now - self._shown >= _LINE_SECONDS:
            self._shown = now
            sys.stderr.write(f"{self.line(rows, bytes_done)}\n")

    def line(self, rows: int, bytes_done: int) -> str:
        """Share, rows, rows a second and time that is left."""
        spent = max(self._now() - self._begun, 1e-3)
        share = min(bytes_done / self._total, 1.0)
        filled = round(share * _BAR)
        bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] " if self._terminal else ""
        done = bytes_done - self._bytes
        left = (self._total - bytes_done) * spent / done if done > 0 else 0.0
        rate = (rows - self._rows) / spent
        return f"{bar}{share:4.0%}  {rows:,} rows  {rate:,.0f}/s  {clock(left)} left"

    def close(self) -> None:
        """End the line that is drawn over."""
        if self._drawn:
            sys.stderr.write("\n")


def clock(seconds: float) -> str:
    """A duration as 0:07, 12:30 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
