"""A folder that one process owns."""

import fcntl
import os
from pathlib import Path
from typing import IO


class InUse(Exception):
    """Another process owns the folder; `owner` is its pid, `?` where that is not known."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


def take(folder: Path) -> IO[str]:
    """Own `folder`, made if need be, until the file is closed; the system closes it with the process. Raises InUse, and
    OSError where the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / "lock", "a+", encoding="ascii")  # noqa: SIM115 - held as long as its owner
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "?"
        lock.close()
        raise InUse(owner) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
