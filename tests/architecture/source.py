"""Reads the project's Python files as syntax trees, for the rules that import-linter cannot express."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    path: str  # relative to the project, with "/"
    text: str
    tree: ast.Module

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree, walked once for all rules."""
        return tuple(ast.walk(self.tree))

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in self.nodes if isinstance(node, ast.Call))

    def imports(self) -> Iterator[tuple[str, ast.AST]]:
        """Every imported name in full: `from a.b import c` gives "a.b.c", so that a prefix test is enough."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield f"{relative_base(self.path, node)}.{alias.name}".strip("."), node


def relative_base(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = path.removesuffix(".py").split("/")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def within(name: str, *prefixes: str) -> bool:
    """Whether a dotted name is one of the prefixes or below one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of names; calls and subscripts on the way are left out."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    if isinstance(node, ast.Call):
        return dotted(node.func)
    return ""


def parse(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text, filename=path))


def sources(*folders: str) -> list[Source]:
    return [source for folder in folders for source in _sources(folder)]


@cache
def _sources(folder: str) -> tuple[Source, ...]:
    files = sorted((ROOT / folder).rglob("*.py"))
    return tuple(parse(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files)


def services() -> list[str]:
    return sorted(file.parent.name for file in (ROOT / "services").glob("*/__init__.py"))
