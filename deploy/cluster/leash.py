"""Runs a command that ends with its parent, under its own pid: `python leash.py PARENT_PID USER SIGNAL COMMAND…`.

Linux keeps the promise also when the parent is killed; elsewhere an orphan may be left. Only the standard library, and
little of it: this runs before every process of the cluster.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, user: str, number: int, command: list[str]) -> None:
    """`user`: uid:gid to become first, or empty."""
    if user:
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)  # after the change of user, which takes it off
    if os.getppid() != parent:  # it was killed before the leash was on
        sys.exit(1)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a command would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 - no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
