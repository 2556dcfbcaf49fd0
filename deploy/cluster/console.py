"""One log of all processes on the terminal: a line of each is that line with the process's name before it."""

import os
import re
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

from deploy.cluster.process import LOG_BYTES

_POLL_SECONDS = 0.1
_WIDTH = 10
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_OWN = "cluster"


class Console:
    """Follows every *.log of a folder from now on; use it as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets = {path: path.stat().st_size for path in folder.glob("*.log")}
        self._rest: dict[Path, bytes] = {}
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="cluster-console", daemon=True)

    def __enter__(self) -> "Console":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """A line of the runner's own."""
        self._print(_OWN, text, bold=True)

    def _follow(self) -> None:
        while not self._ending.wait(_POLL_SECONDS):
            self._read()
        self._read()

    def _read(self) -> None:
        for path in sorted(self._folder.glob("*.log")):
            with suppress(OSError):
                self._read_one(path)

    def _read_one(self, path: Path) -> None:
        offset, size = self._offsets.get(path, 0), path.stat().st_size
        if size < offset:  # put aside when its process was started again
            offset = 0
        if size == offset:
            return
        with path.open("rb") as file:
            file.seek(offset)
            data = self._rest.pop(path, b"") + file.read(size - offset)
        self._offsets[path] = size
        *lines, rest = data.split(b"\n")
        if rest:
            self._rest[path] = rest
        for line in lines:
            self._print(path.stem, line.decode(errors="replace").rstrip())
        if size > LOG_BYTES:  # its process appends, so it goes on at the new end
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)

    def _print(self, name: str, text: str, *, bold: bool = False) -> None:
        head = f"{name:{_WIDTH}} | "
        if self._coloured:
            head = f"\x1b[{1 if bold else _colour(name)}m{head}\x1b[0m"
        with self._lock:
            print(head + text, flush=True)


def _colour(name: str) -> int:
    """The same for every replica and every run."""
    return _COLOURS[sum(map(ord, re.sub(r"-\d+$", "", name))) % len(_COLOURS)]
