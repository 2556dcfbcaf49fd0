"""The embedded server: data stays, one owner at a time, a server that outlived its owner is taken over."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from shared.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from shared.db.embedded_host import alive
from tests.support.poll import eventually
from tests.support.postgres import data_folder

_OWNER = """
import sys
from pathlib import Path
from shared.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for data; whatever server a failed test left on it is stopped."""
    with data_folder() as path:
        yield path
        file = path / "pgdata" / "postmaster.pid"
        if file.exists():
            with EmbeddedPostgres(path):
                pass


async def _value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_data_survives_a_restart(folder: Path) -> None:
    for expected in (1, 2):
        with EmbeddedPostgres(folder) as server:
            url = server.url()
            await _value(url, "create table if not exists kept (n int)")
            await _value(url, "insert into kept values (1)")
            assert await _value(url, "select count(*) from kept") == expected


async def test_durability_and_encoding(postgres: EmbeddedPostgres) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await _value(postgres.url(), f"show {setting}") == "on"
    assert await _value(postgres.url(), "show server_encoding") == "UTF8"
    assert await _value(postgres.url(), "select 'Z' < 'a' and lower('Ä') = 'ä'") is True


async def test_a_second_process_is_told_who_owns_the_folder(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        program = [sys.executable, "-c", _OWNER, str(folder)]
        second = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, timeout=30)
    assert second.returncode != 0
    assert second.stderr.strip().endswith(f"{folder} is in use by process {os.getpid()}; stop that one first")


async def test_a_server_whose_owner_was_killed_is_adopted(folder: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OWNER, str(folder), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    pid = int(await asyncio.wait_for(owner.stdout.readline(), 60))
    owner.kill()
    await owner.wait()
    assert alive(pid)
    with EmbeddedPostgres(folder) as server:
        assert server.pid == pid
        assert await _value(server.url(), "select 1") == 1
    await eventually(lambda: not alive(pid))


async def test_a_killed_server_comes_back_with_its_data(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        await _value(server.url(), "create table kept as select 7 as n")
        dead = server.pid
        os.kill(dead, signal.SIGKILL)
        await eventually(lambda: not alive(dead))
        server.start()
        assert server.pid != dead
        assert await _value(server.url(), "select n from kept") == 7


async def test_a_stale_pid_file_that_names_a_stranger_is_no_obstacle(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        lines = (folder / "pgdata" / "postmaster.pid").read_text().splitlines()
        server.url()
    lines[0] = str(os.getpid())
    (folder / "pgdata" / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with EmbeddedPostgres(folder) as server:
        assert await _value(server.url(), "select 1") == 1


async def test_an_interrupted_initdb_is_begun_again(folder: Path) -> None:
    (folder / "pgdata.new").mkdir()
    (folder / "pgdata.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder) as server:
        assert await _value(server.url(), "select 1") == 1


async def test_data_of_another_major_version_is_refused_in_one_line(folder: Path) -> None:
    (folder / "pgdata").mkdir()
    (folder / "pgdata" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 15, this is 18; dump it"):
        EmbeddedPostgres(folder).start()


async def test_a_folder_that_cannot_be_used_is_refused_in_one_line(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match=r"cannot use the data folder .* set DATA_DIR") as caught:
        EmbeddedPostgres(folder / "file" / "data").start()
    assert "\n" not in caught.value.detail


async def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with EmbeddedPostgres(deep) as server:
        assert await _value(server.url(), "select 1") == 1
        sockets = server.url().split("?host=")[1]
        assert stat.S_IMODE(os.stat(sockets).st_mode) == 0o700
    with pytest.raises(FileNotFoundError):
        os.stat(sockets)


async def test_tcp_listens_on_loopback_alone(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with EmbeddedPostgres(folder, port=port) as server:
        assert server.url() == f"postgresql://postgres@127.0.0.1:{port}/closeloop"
        assert await _value(server.url(), "show listen_addresses") == "127.0.0.1"
    with EmbeddedPostgres(folder) as server:
        assert await _value(server.url(), "show listen_addresses") == ""


async def test_a_database_name_is_checked(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(ValueError, match="not a plain database name"):
        postgres.url("x; drop database postgres")


async def test_each_test_has_a_database_of_its_own(database_url: str, postgres: EmbeddedPostgres) -> None:
    assert database_url != postgres.url()
    assert f"/{await _value(database_url, 'select current_database()')}?" in database_url
