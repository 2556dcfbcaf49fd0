"""One service's view of the database: its own schema, a reading type and a writing type of connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Executable, Row, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.contracts.envelope import Event
from shared.core.errors import Unavailable
from shared.db.unit_of_work import Encoded, UnitOfWork, sql
from shared.telemetry.logging import get_logger

log = get_logger(__name__)

# The role that API requests act as: row-level security limits it to one workspace (security.md 2).
API_ROLE = "closeloop_api"
# SQLSTATE classes and codes that say "try again", not "this statement is wrong": connection, resources, shutdown,
# serialization, deadlock, lock and statement timeouts, read-only while a standby takes over.
_OUTAGE_CLASSES = ("08", "53", "57", "58")
_READ_ONLY = "25006"
_OUTAGE_CODES = ("40001", "40P01", "55P03", _READ_ONLY, "25P03")
# These say that a path is wrong, not that a server is away.
_LOCAL_ERRORS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
# Who asks gets a 503 within 2 s also from a frozen server (P11): a connection, and its first answer, by then.
REACH_SECONDS = 1.5
_ENTER_WORKSPACE = text("select set_config('app.workspace', :workspace, true), set_config('role', :role, true)")
_PROBE = text("select 1")

Params = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def is_outage(error: BaseException) -> bool:
    """True when the database (not the statement) is at fault, so that the same work may succeed later."""
    if isinstance(error, PoolTimeout | TimeoutError | OSError | InterfaceError):
        return not isinstance(error, _LOCAL_ERRORS)
    if not isinstance(error, DBAPIError):
        return False
    code = _sqlstate(error)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return code[:2] in _OUTAGE_CLASSES or code in _OUTAGE_CODES


class Reader:
    """A read-only transaction: what it reads is one consistent picture, and it cannot write."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self, statement: Executable | str, params: Params = None) -> Sequence[Row[Any]]:
        """All rows."""
        return (await self._connection.execute(_statement(statement), params)).all()

    async def first(self, statement: Executable | str, params: Params = None) -> Row[Any] | None:
        """The first row, or None."""
        return (await self._connection.execute(_statement(statement), params)).first()

    async def scalar(self, statement: Executable | str, params: Params = None) -> Any:
        """The first column of the first row, or None."""
        return (await self._connection.execute(_statement(statement), params)).scalar()


class Database:
    """Connections to `schema` (the search path: SQL names its tables bare). Made once, by the composition root.

    Give `workspace` for everything that answers a request: the transaction then acts as a role that row-level
    security confines to that workspace. Without it the transaction serves all workspaces: for workers only.
    """

    def __init__(self, url: str, schema: str, *, encode: Callable[[Event[Any]], Encoded], pool_size: int = 8) -> None:
        self.schema = schema
        self._encode = encode
        self._engine = make_engine(url, schema, pool_size=pool_size)
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def reader(self, workspace: str | None = None) -> AsyncIterator[Reader]:
        """A consistent read. Raises Unavailable when the database is out of reach."""
        async with self._transaction(workspace, REACH_SECONDS, read_only=True) as connection:
            yield Reader(connection)

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Reader]:
        """Single statements, each on its own, for workers that look often: a third of the round trips of `reader`.
        Raises Unavailable when the database is out of reach."""
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield Reader(connection)
        except BaseException as error:
            if is_outage(error):
                raise Unavailable("the database is out of reach or too busy; try again in a moment") from error
            raise

    @asynccontextmanager
    async def unit_of_work(self, workspace: str | None = None) -> AsyncIterator[UnitOfWork]:
        """One transaction: committed when the block ends well, rolled back when it raises.

        Raises Unavailable when the database is out of reach before the commit: nothing was stored. An error at the
        commit itself comes as it is (the outcome is then unknown: read your position again).
        """
        reach_seconds = None if workspace is None else REACH_SECONDS
        async with self._transaction(workspace, reach_seconds, read_only=False) as connection:
            work = UnitOfWork(connection, self.schema, self._encode)
            yield work
            await work.flush()

    @asynccontextmanager
    async def _transaction(
        self, workspace: str | None, reach_seconds: float | None, *, read_only: bool
    ) -> AsyncIterator[AsyncConnection]:
        if workspace == "":
            raise ValueError("an empty workspace would see nothing, or everything; name one")
        connection = await self._reach(reach_seconds, self._open(workspace, read_only=read_only))
        try:
            yield connection
        except BaseException as error:
            await self._give_up(connection, error)
            if is_outage(error) and not (read_only and _sqlstate(error) == _READ_ONLY):
                raise Unavailable("the database is out of reach or too busy; try again in a moment") from error
            raise
        try:
            await connection.commit()
        except BaseException as error:
            await self._give_up(connection, error)
            raise
        await connection.close()

    async def _open(self, workspace: str | None, *, read_only: bool) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            if read_only:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            await connection.begin()
            await _enter(connection, workspace, probe=read_only)
        except BaseException as error:
            await self._give_up(connection, error)
            raise
        return connection

    async def _reach(self, seconds: float | None, opening: Coroutine[Any, Any, AsyncConnection]) -> AsyncConnection:
        """Wait for `opening`, but no longer than `seconds`: on a frozen server even its cancellation takes seconds."""
        task = asyncio.create_task(opening)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(task)
        except BaseException as error:
            task.cancel()
            task.add_done_callback(self._too_late)
            if is_outage(error) or isinstance(error, OSError):
                raise Unavailable("the database cannot be reached; try again in a moment") from error
            raise

    def _too_late(self, task: "asyncio.Task[AsyncConnection]") -> None:
        if not task.cancelled() and task.exception() is None:
            self._leave(task.result())

    async def _give_up(self, connection: AsyncConnection, error: BaseException) -> None:
        """Roll back. A connection that may hang is left to a task of its own, so that whoever asked gets an answer."""
        if isinstance(error, Exception) and not is_outage(error):
            await connection.close()
            return
        self._leave(connection)

    def _leave(self, connection: AsyncConnection) -> None:
        task = asyncio.create_task(_drop(connection), name="drop connection")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def check(self) -> None:
        """Raise Unavailable unless the database answers; for readiness."""
        async with self.reader() as reader:
            await reader.scalar("select 1")

    async def stop(self) -> None:
        """Close the pool; a frozen server does not hold us."""
        try:
            async with asyncio.timeout(3):
                await asyncio.gather(*self._leaving)
                await self._engine.dispose()
        except TimeoutError:
            await self._engine.dispose(close=False)


def make_engine(url: str, schema: str, *, pool_size: int = 8, statement_seconds: int = 5) -> AsyncEngine:
    """An engine on `schema` with the timeouts of delivery.md: nobody frozen or dead may hold others."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=1,
        pool_recycle=1800,
        hide_parameters=True,  # an error text with parameters would carry customer data
        connect_args={
            "timeout": 3,
            "command_timeout": statement_seconds + 1,
            "server_settings": {
                "application_name": f"closeloop-{schema}",
                "search_path": schema,
                "idle_in_transaction_session_timeout": "10s",
                "statement_timeout": f"{statement_seconds}s",
                "lock_timeout": "2s",
                "jit": "off",
            },
        },
    )


async def _drop(connection: AsyncConnection) -> None:
    try:
        await connection.invalidate()
        await connection.close()
    except Exception as error:  # it is gone one way or the other
        log.debug("connection_dropped", error=type(error).__name__)


async def _enter(connection: AsyncConnection, workspace: str | None, *, probe: bool) -> None:
    if workspace is not None:
        await connection.execute(_ENTER_WORKSPACE, {"workspace": workspace, "role": API_ROLE})
    elif probe:
        await connection.execute(_PROBE)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _statement(statement: Executable | str) -> Executable:
    return sql(statement) if isinstance(statement, str) else statement
