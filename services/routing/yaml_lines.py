"""YAML with the line of every value, so that a fault can say where it stands."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from shared.core.errors import Fault, InvalidInput

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Where the values of a document stand: path → line, counted from 1."""

    of: dict[Path, int]

    def nearest(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it (a missing key has no line of its own)."""
        while path and path not in self.of:
            path = path[:-1]
        return self.of.get(path, 1)

    def fault(self, path: Path, reason: str) -> Fault:
        """A fault with its line."""
        place = ".".join(map(str, path))
        return Fault(f"line {self.nearest(path)}" + (f": {place}" if place else ""), reason)


# libyaml where PyYAML was built with it: a crew of 2,000 takes the Python parser seconds.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# PyYAML needs quadratic time for nested brackets: 5,000 of them are half a minute.
_DEEPEST = 32


class _Loader(_Base):  # type: ignore[misc]
    """YAML 1.1's surprises taken out: dates, 12:30 (sexagesimal 750) and `no` (Norwegian, not false) stay text."""


_SURPRISING = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _SURPRISING]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]{1,18}$"), list("-+0123456789"))


def load(text: str) -> tuple[Any, Lines]:
    """The value of a YAML document and its lines.

    Raises InvalidInput with line and reason for what is no YAML, a key written twice, an alias (none is needed, and
    nested ones grow without bound).
    """
    _refuse_deep(text)
    try:
        loader = _Loader(text)
        try:
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
                raise InvalidInput("YAML aliases (*name) are not supported; write the value out")
            node = loader.get_single_node()
            lines: dict[Path, int] = {}
            if node is not None:
                _note(node, (), lines)
            return (None if node is None else loader.construct_document(node)), Lines(lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fault = Fault(f"line {mark.line + 1 if mark else 1}", error.problem or "is not YAML")
        raise InvalidInput(f"not YAML: {fault.path}: {fault.reason}", faults=[fault]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else "holds a character that YAML forbids"
        raise InvalidInput(f"not YAML: {reason}", faults=[Fault("line 1", reason)]) from None


def _refuse_deep(text: str) -> None:
    depth = 0
    for match in re.finditer(r"[\[\]{}]", text):
        depth = max(0, depth + (match[0] in "[{") - (match[0] in "]}"))
        if depth > _DEEPEST:
            line = text.count("\n", 0, match.start()) + 1
            fault = Fault(f"line {line}", "nested too deep")
            raise InvalidInput(f"not YAML: {fault.path}: {fault.reason}", faults=[fault])


def _note(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note(item, (*path, index), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                reason = "is written twice" if isinstance(key, yaml.ScalarNode) else "must be a plain word"
                name = str(getattr(key, "value", "key"))[:80]
                raise InvalidInput(f"line {line}: {name} {reason}", faults=[Fault(f"line {line}: {name}", reason)])
            seen.add(key.value)
            lines[*path, key.value] = line
            _note(value, (*path, key.value), lines)
