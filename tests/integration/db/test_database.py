"""Readers cannot write, requests see one workspace, and a connection carries nothing over to its next user."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.bus import codec
from shared.core.errors import InvalidInput, Unavailable
from shared.db.database import API_ROLE, Database, is_outage
from shared.db.embedded import EmbeddedPostgres
from shared.db.workspaces import protect
from tests.support.harness import SCHEMA, database
from tests.support.postgres import fresh_database


@pytest.fixture(scope="module")
async def shared_database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database with a protected table `note (workspace, text)`."""
    with fresh_database(postgres) as url:
        async with database(url) as made:
            statements = ["create table note (workspace text, text text, primary key (workspace, text))"]
            protect(statements.append, "note")
            async with made.unit_of_work() as uow:
                for statement in statements:
                    await uow.execute(statement)
            yield made


@pytest.fixture
async def made(shared_database: Database) -> Database:
    """Both acme and globex have a note."""
    async with shared_database.unit_of_work() as uow:
        await uow.execute("delete from note")
        await uow.execute("insert into note values ('acme', 'ours'), ('globex', 'theirs')")
    return shared_database


async def notes(made: Database, workspace: str | None = None) -> set[str]:
    async with made.reader(workspace) as reader:
        return {row.text for row in await reader.all("select text from note")}


@pytest.mark.parametrize("workspace", [None, "acme"])
async def test_a_reader_cannot_write(made: Database, workspace: str | None) -> None:
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with made.reader(workspace) as reader:
            await reader.scalar("insert into note values ('acme', 'more') returning text")
    async with made.unit_of_work(workspace) as uow:  # the same connection may write again
        await uow.execute("insert into note values ('acme', 'more')")
    assert "more" in await notes(made)


async def test_a_reader_sees_one_moment(made: Database) -> None:
    async with made.reader() as reader:
        before = await reader.scalar("select count(*) from note")
        async with made.unit_of_work() as uow:
            await uow.execute("insert into note values ('acme', 'later')")
        assert await reader.scalar("select count(*) from note") == before


async def test_a_request_sees_its_own_workspace_whatever_its_sql_forgets(made: Database) -> None:
    assert await notes(made, "acme") == {"ours"}
    assert await notes(made, "nobody") == set()
    assert await notes(made) == {"ours", "theirs"}


@pytest.mark.parametrize(
    "statement",
    [
        "insert into note values ('globex', 'planted')",
        "update note set workspace = 'globex'",
        "insert into note values ('globex', 'theirs') on conflict (workspace, text) do update set text = 'taken'",
    ],
)
async def test_a_request_cannot_write_into_another_workspace(made: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        async with made.unit_of_work("acme") as uow:
            await uow.execute(statement)
    assert await notes(made, "globex") == {"theirs"}


@pytest.mark.parametrize("statement", ["update note set text = 'defaced'", "delete from note"])
async def test_a_request_cannot_change_the_rows_of_others(made: Database, statement: str) -> None:
    async with made.unit_of_work("acme") as uow:
        assert (await uow.execute(statement)).rowcount == 1
    assert await notes(made, "globex") == {"theirs"}


@pytest.mark.parametrize(
    "statement",
    [
        "select * from consumer_position",
        "delete from processed_event",
        "select * from outbox",
        "delete from lease",
        "create table mine ()",
        "alter table note disable row level security",
        "truncate note",
    ],
)
async def test_a_request_has_no_business_with_the_runtime(made: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        async with made.unit_of_work("acme") as uow:
            await uow.execute(statement)


async def test_an_empty_workspace_is_refused(made: Database) -> None:
    with pytest.raises(ValueError, match="empty workspace"):
        async with made.reader(""):
            pass
    with pytest.raises(ValueError, match="empty workspace"):
        async with made.unit_of_work(""):
            pass


async def test_a_connection_carries_nothing_over_to_its_next_user(database_url: str) -> None:
    one = Database(database_url, "platform", encode=codec.encode, pool_size=1)
    who = "select current_user, coalesce(current_setting('app.workspace', true), '') as workspace"
    try:
        async with one.unit_of_work("acme") as uow:
            mine = (await uow.execute(who)).one()
        with pytest.raises(InvalidInput):
            async with one.unit_of_work("globex"):
                raise InvalidInput("no")
        async with one.unit_of_work() as uow:
            next_one = (await uow.execute(who)).one()
        async with one.reader() as reader:
            last = await reader.first(who)
    finally:
        await one.stop()
    assert tuple(mine) == (API_ROLE, "acme")
    assert tuple(next_one) == tuple(last or ())
    assert (next_one.current_user, next_one.workspace) == ("postgres", "")


async def _fail(made: Database, *statements: str, error: Exception | None = None) -> None:
    async with made.unit_of_work() as uow:
        for statement in statements:
            await uow.execute(statement)
        if error is not None:
            raise error


async def test_what_raises_leaves_nothing(made: Database) -> None:
    with pytest.raises(LookupError):
        await _fail(made, "delete from note", error=LookupError())
    with pytest.raises(IntegrityError):
        await _fail(made, *["insert into note values ('acme', 'half')"] * 2)
    assert await notes(made) == {"ours", "theirs"}


async def test_a_cancelled_request_leaves_nothing_and_blocks_nobody(made: Database) -> None:
    entered = asyncio.Event()

    async def slow() -> None:
        async with made.unit_of_work() as uow:
            await uow.execute("delete from note")
            entered.set()
            await uow.execute("select pg_sleep(4)")

    task = asyncio.create_task(slow())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with made.unit_of_work() as uow:
        await uow.execute("select * from note for update")
    assert await notes(made) == {"ours", "theirs"}


async def test_settings_of_a_worker_are_those_that_durability_rests_on(made: Database) -> None:
    wanted = {
        "synchronous_commit": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "10s",
        "search_path": SCHEMA,
    }
    async with made.reader() as reader:
        found = {name: await reader.scalar(f"show {name}") for name in wanted}
    assert found == wanted


async def test_a_lock_is_not_waited_for_long(made: Database) -> None:
    clock = asyncio.get_running_loop().time
    async with made.unit_of_work() as holder:
        await holder.execute("select * from note for update")
        began = clock()
        with pytest.raises(Unavailable):
            async with made.unit_of_work() as uow:
                await uow.execute("delete from note")
        assert 1.5 < clock() - began < 4


async def test_an_exhausted_pool_is_an_answer_not_a_hang(database_url: str) -> None:
    one = Database(database_url, "platform", encode=codec.encode, pool_size=1)
    try:
        async with one.unit_of_work():
            with pytest.raises(Unavailable):
                async with one.reader():
                    pass
    finally:
        await one.stop()


class _Orig(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (OSError("Multiple exceptions"), True),
        (PoolTimeout(), True),
        (FileNotFoundError("a handler's own file"), False),
        (PermissionError(), False),
        (ValueError(), False),
        (asyncio.CancelledError(), False),
        *(
            (DBAPIError("x", None, _Orig(code)), True)
            for code in ("08006", "53300", "57P01", "57014", "40001", "40P01")
        ),
        *((DBAPIError("x", None, _Orig(code)), True) for code in ("55P03", "25006", "25P03", "58030")),
        *((DBAPIError("x", None, _Orig(code)), False) for code in ("23505", "22003", "42P01", "42501", "22021", None)),
        (DBAPIError("x", None, _Orig(None), connection_invalidated=True), True),
    ],
)
def test_what_is_an_outage(error: BaseException, outage: bool) -> None:
    assert is_outage(error) is outage


@pytest.mark.parametrize("value", [2**40, "text", b"\xff"])
async def test_a_value_that_does_not_fit_is_no_outage(made: Database, value: object) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with made.unit_of_work() as uow:
            await uow.execute("select cast(:value as int)", {"value": value})
    assert not is_outage(caught.value)
    assert str(value) not in str(caught.value.statement)
