"""Fixtures for every test: `postgres` (a server per session), `database_url` (a fresh, migrated database per test)."""

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from shared.db.embedded import EmbeddedPostgres
from shared.telemetry.logging import configure_logging
from tests.support.postgres import fresh_database, make_template, running_server

# Objects made until the next search for garbage: the searches were a quarter of collecting and reading trees.
_COLLECT_AFTER = (200_000, 10, 10)
# As the Makefile does: the processes that tests start, and the workers, need not compile everything anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
gc.set_threshold(*_COLLECT_AFTER)
configure_logging(level="warning", log_format="json")
# Time that passed says how busy the machine is, not whether an example holds.
settings.register_profile("closeloop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("closeloop")
pytest_plugins = ["tests.support.kafka"]  # `kafka_bootstrap`: host:port of a broker per session


def pytest_configure() -> None:
    """A run that is told to end (a CI's time limit) ends as by Ctrl-C: servers that fixtures started are stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's `… &`: all that tests start would ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Four thousand tests and what they import stay to the end: they are not searched for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the broker run in one worker, which starts it once, those that start a cluster in another, and
    those that read all files in one that reads them once; the rest do not wait for them."""
    for item in items:
        marked = item.get_closest_marker("kafka")
        fixtures = getattr(item, "fixturenames", ())
        if marked and item.path.parent.name in {"cluster", "fault"}:
            item.add_marker(pytest.mark.xdist_group("cluster"))
        elif marked or "kafka_bootstrap" in fixtures or "kafka" in item.name.rpartition("[")[2]:
            item.add_marker(pytest.mark.xdist_group("kafka"))
        elif item.path.parent.name == "architecture":
            item.add_marker(pytest.mark.xdist_group("architecture"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One real PostgreSQL for the whole session, with a migrated template."""
    with running_server() as server:
        make_template(server)
        yield server


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own with every migration applied; dropped afterwards."""
    with fresh_database(postgres) as url:
        yield url
