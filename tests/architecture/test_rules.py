"""Rules of the house that no linter knows, read from the syntax tree. Each rule is tried on small samples below."""

import ast
import os
import re
from collections.abc import Callable, Iterator

import pytest

from tests.architecture.source import ROOT, Source, dotted, parse, services, sources, within

MAX_LINES = 400
POLL = "tests/support/poll.py"
# A load generator paces its arrivals and a fault lasts for its time; neither asserts anything about time that passed.
PACED = ("tests/load/", "tests/fault/")
SLEEPS = ("time.sleep", "asyncio.sleep", "anyio.sleep", "trio.sleep")


def commits(source: Source) -> Iterator[str]:
    """One transaction per request or batch, committed at its edge. A bus consumer's offsets are no transaction."""
    if re.match(r"shared/(db|bus)/", source.path):
        return
    for call in source.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr == "commit":
            receiver = dotted(call.func.value).split(".")[-1]
            offsets = source.path.startswith("shared/") and receiver.endswith("consumer")
            if not offsets:
                yield f"{source.at(call)} commits; the unit of work does that"


def base_http_middleware(source: Source) -> Iterator[str]:
    """It breaks context variables, streaming and cancellation: write plain ASGI middleware."""
    for node in source.nodes:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name == "BaseHTTPMiddleware":
            yield f"{source.at(node)} uses BaseHTTPMiddleware"
    for name, node in source.imports():
        if name.endswith(".BaseHTTPMiddleware"):
            yield f"{source.at(node)} imports BaseHTTPMiddleware"


def swallowed(source: Source) -> Iterator[str]:
    """An error that nobody sees. Catch the exception that is meant, or let it crash."""
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and all(map(does_nothing, node.body)):
            yield f"{source.at(node)} swallows every exception"
        if (
            isinstance(node, ast.Call)
            and dotted(node.func).split(".")[-1] == "suppress"
            and any(map(is_broad, node.args))
        ):
            yield f"{source.at(node)} suppresses every exception"


def is_broad(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(dotted(k).split(".")[-1] in {"Exception", "BaseException"} for k in kinds)


def does_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass | ast.Continue) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def sleeps(source: Source) -> Iterator[str]:
    """A test that sleeps is slow on a fast machine and wrong on a slow one: tests.support.poll.eventually waits."""
    if source.path == POLL or (source.path.startswith(PACED) and "/test_" not in source.path):
        return
    for call in source.calls():
        if dotted(call.func) in SLEEPS:
            yield f"{source.at(call)} sleeps; wait with tests.support.poll.eventually"
    for name, node in source.imports():
        if within(name, *SLEEPS):
            yield f"{source.at(node)} imports sleep; wait with tests.support.poll.eventually"


def unconditional_skips(source: Source) -> Iterator[str]:
    """A test that never runs is no test."""
    for node in source.nodes:
        decorators = getattr(node, "decorator_list", [])
        marks = node.value if isinstance(node, ast.Assign) and dotted(node.targets[0]) == "pytestmark" else None
        listed = marks.elts if isinstance(marks, ast.List | ast.Tuple) else [marks] if marks else []
        for mark in (*decorators, *listed):
            if always_skips(mark):
                yield f"{source.at(mark)} always skips"
    for body in (source.tree.body, *(n.body for n in source.nodes if isinstance(n, FUNCTIONS))):
        for statement in body:
            if isinstance(statement, ast.Expr) and dotted(statement.value) in {"pytest.skip", "pytest.xfail"}:
                yield f"{source.at(statement)} always skips"


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def always_skips(mark: ast.expr) -> bool:
    name = dotted(mark).removeprefix("pytest.")
    if name == "mark.skip":
        return True
    conditions = mark.args if isinstance(mark, ast.Call) else []
    return name == "mark.skipif" and bool(conditions) and isinstance(conditions[0], ast.Constant)


def long_files(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > MAX_LINES:
        yield f"{source.path} has {lines} lines; more than {MAX_LINES} ask for a folder"


RULES: list[tuple[Callable[[Source], Iterator[str]], tuple[str, ...]]] = [
    (commits, ("services", "shared")),
    (base_http_middleware, ("services", "shared", "tests")),
    (swallowed, ("services", "shared", "deploy", "tests")),
    (sleeps, ("tests",)),
    (unconditional_skips, ("tests",)),
    (long_files, ("services", "shared")),
]


@pytest.mark.parametrize(("rule", "folders"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_holds(rule: Callable[[Source], Iterator[str]], folders: tuple[str, ...]) -> None:
    assert [problem for source in sources(*folders) for problem in rule(source)] == []


@pytest.mark.parametrize("service", services())
def test_service_has_a_readme(service: str) -> None:
    assert (ROOT / "services" / service / "README.md").is_file(), f"services/{service}/README.md is missing"


@pytest.mark.parametrize("folder", ["services", "shared"])
def test_every_folder_with_code_is_a_package(folder: str) -> None:
    """Alembic loads migrations by path: those folders are no packages."""
    holders = {file.parent for file in (ROOT / folder).rglob("*.py") if "migrations" not in file.parts}
    holders |= {path for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert sorted(str(path.relative_to(ROOT)) for path in holders if not (path / "__init__.py").is_file()) == []


SAMPLES: list[tuple[Callable[[Source], Iterator[str]], str, str, bool]] = [
    (commits, "services/scoring/service.py", "await session.commit()", False),
    (commits, "services/scoring/service.py", "await consumer.commit(offsets)", False),
    (commits, "shared/runtime/loop.py", "await self._consumer.commit(offsets)", True),
    (commits, "shared/runtime/loop.py", "await connection.commit()", False),
    (commits, "shared/db/unit_of_work.py", "await session.commit()", True),
    (commits, "shared/bus/postgres.py", "await connection.commit()", True),
    (base_http_middleware, "shared/http/app.py", "from starlette.middleware.base import BaseHTTPMiddleware", False),
    (base_http_middleware, "shared/http/app.py", "class M(base.BaseHTTPMiddleware): ...", False),
    (swallowed, "shared/x.py", "try:\n    f()\nexcept Exception:\n    pass", False),
    (swallowed, "shared/x.py", "try:\n    f()\nexcept (ValueError, Exception):\n    ...", False),
    (swallowed, "shared/x.py", "while True:\n    try:\n        f()\n    except:\n        continue", False),
    (swallowed, "shared/x.py", "try:\n    f()\nexcept ValueError:\n    pass", True),
    (swallowed, "shared/x.py", "try:\n    f()\nexcept Exception:\n    log()\n    raise", True),
    (swallowed, "shared/x.py", "with contextlib.suppress(Exception):\n    f()", False),
    (sleeps, "tests/unit/test_x.py", "import time\ntime.sleep(1)", False),
    (sleeps, "tests/unit/test_x.py", "from asyncio import sleep", False),
    (sleeps, "tests/fault/test_x.py", "import time\ntime.sleep(1)", False),
    (sleeps, "tests/fault/x.py", "import time\ntime.sleep(1)", True),
    (sleeps, POLL, "import asyncio\nasync def f():\n    await asyncio.sleep(1)", True),
    (unconditional_skips, "tests/test_x.py", "@pytest.mark.skip\ndef test_a(): ...", False),
    (unconditional_skips, "tests/test_x.py", "@pytest.mark.skip(reason='later')\ndef test_a(): ...", False),
    (unconditional_skips, "tests/test_x.py", "@pytest.mark.skipif(True, reason='')\ndef test_a(): ...", False),
    (unconditional_skips, "tests/test_x.py", "@pytest.mark.skipif(no_kafka(), reason='')\ndef test_a(): ...", True),
    (unconditional_skips, "tests/test_x.py", "pytestmark = [pytest.mark.kafka, pytest.mark.skip]", False),
    (unconditional_skips, "tests/test_x.py", "pytestmark = pytest.mark.kafka", True),
    (unconditional_skips, "tests/test_x.py", "def test_a():\n    pytest.skip('later')", False),
    (unconditional_skips, "tests/test_x.py", "def test_a():\n    if not has():\n        pytest.skip('no')", True),
    (long_files, "shared/x.py", "x = 1\n" * 401, False),
    (long_files, "shared/x.py", "x = 1\n" * 400, True),
]


@pytest.mark.parametrize(("rule", "path", "text", "allowed"), SAMPLES)
def test_the_rule_itself(rule: Callable[[Source], Iterator[str]], path: str, text: str, allowed: bool) -> None:
    assert (list(rule(parse(path, text))) == []) is allowed


def test_groups_of_tests_are_kept_together(request: pytest.FixtureRequest) -> None:
    """Else every worker of a run starts a broker, a cluster and a browser of its own."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        assert request.node.nodeid.endswith("@architecture")
