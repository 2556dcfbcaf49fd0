"""Import rules per file name. The layers, and that services are independent, are contracts in pyproject.toml."""

import re
import sys

import pytest

from tests.architecture.source import Source, parse, sources, within

SQL_PACKAGES = ("sqlalchemy", "asyncpg", "alembic", "greenlet")
SQL_FILES = re.compile(
    r"shared/db/"
    r"|shared/bus/postgres(\.py|/)"
    r"|services/[a-z_]+/(models|repository)(\.py|/)"
    r"|(services|shared)/[a-z_]+/migrations/"
)
KAFKA_FILES = re.compile(r"shared/bus/")

DOMAIN_FILES = re.compile(r"services/([a-z_]+)/domain(\.py|/)")
DOMAIN_MAY = ("shared.core", "shared.contracts", "numpy")
STANDARD_IO = (
    *("asyncio", "http", "multiprocessing", "os", "pathlib", "shutil", "smtplib", "socket", "sqlite3", "ssl"),
    *("subprocess", "tempfile", "threading", "urllib.request"),
)


def sql_outside_its_files(source: Source) -> list[str]:
    if SQL_FILES.match(source.path):
        return []
    return [f"{source.at(node)} imports {name}" for name, node in source.imports() if within(name, *SQL_PACKAGES)]


def kafka_outside_the_bus(source: Source) -> list[str]:
    if KAFKA_FILES.match(source.path):
        return []
    return [f"{source.at(node)} imports {name}" for name, node in source.imports() if within(name, "aiokafka")]


def impure_domain(source: Source) -> list[str]:
    match = DOMAIN_FILES.match(source.path)
    if not match:
        return []
    allowed = (*DOMAIN_MAY, f"services.{match[1]}.domain")
    return [
        f"{source.at(node)} imports {name}"
        for name, node in source.imports()
        if not within(name, *allowed)
        and (name.split(".")[0] not in sys.stdlib_module_names or within(name, *STANDARD_IO))
    ]


def test_sql_stays_in_models_repositories_migrations_and_shared_db() -> None:
    assert [problem for source in sources("services", "shared") for problem in sql_outside_its_files(source)] == []


def test_aiokafka_stays_in_the_bus() -> None:
    assert [problem for source in sources("services", "shared") for problem in kafka_outside_the_bus(source)] == []


def test_domain_is_pure() -> None:
    assert [problem for source in sources("services") for problem in impure_domain(source)] == []


@pytest.mark.parametrize(
    ("path", "text", "allowed"),
    [
        ("services/scoring/service.py", "from sqlalchemy import select", False),
        ("services/scoring/app.py", "import sqlalchemy.ext.asyncio as sa", False),
        ("services/scoring/repository.py", "from sqlalchemy import select", True),
        ("services/scoring/repository/windows.py", "import asyncpg", True),
        ("services/scoring/migrations/env.py", "from alembic import context", True),
        ("shared/db/engine.py", "import asyncpg", True),
        ("shared/bus/postgres.py", "import asyncpg", True),
        ("shared/bus/migrations/env.py", "import sqlalchemy", True),
        ("shared/bus/kafka.py", "import asyncpg", False),
        ("shared/http/app.py", "import sqlalchemy", False),
    ],
)
def test_the_sql_rule_itself(path: str, text: str, allowed: bool) -> None:
    assert (sql_outside_its_files(parse(path, text)) == []) is allowed


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("import math, datetime\nimport numpy as np", True),
        ("from shared.core.errors import CloseloopError", True),
        ("from shared.contracts import feedback", True),
        ("from services.scoring.domain.windows import Window", True),
        ("from shared.db import unit_of_work", False),
        ("from services.scoring.service import score", False),
        ("from . import repository", False),
        ("import pydantic", False),
        ("import asyncio", False),
        ("from urllib import request", False),
        ("from urllib.parse import urlsplit", True),
    ],
)
def test_the_domain_rule_itself(text: str, allowed: bool) -> None:
    assert (impure_domain(parse("services/scoring/domain.py", text)) == []) is allowed
