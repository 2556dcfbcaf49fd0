"""Play files: YAML in, a Playbook out, or every fault with its line and reason.

The file is read as a tree of nodes, not as Python objects: each fault then knows its line, and nothing is constructed
that the language does not have.
"""

import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TypeVar

import yaml

from services.notifier import domain
from services.notifier.catalogue import Catalogue
from services.notifier.domain import Condition, Malformed, Play, Playbook, Step
from shared.core.errors import Fault, InvalidInput

DEFAULT_FILE = Path(__file__).parent / "plays" / "default.yaml"
LIMIT_BYTES = 64 * 1024
_MAX_PLAYS = 100
_MAX_STEPS = 20
_MAX_CONDITIONS = 20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_PLAY_KEYS = {"id", "title", "on", "when", "max_age", "steps"}
_STEP_KEYS = {"id", "after", "audience", "transport", "template", "when", "unless"}
T = TypeVar("T")


class _Reading:
    """One file being read; faults are collected, so that an author sees all of them at once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.faults: list[Fault] = []

    def fault(self, node: yaml.Node, path: str, reason: str) -> None:
        self.faults.append(Fault(f"line {node.start_mark.line + 1}: {path}", reason))

    def mapping(self, node: yaml.Node, path: str, keys: set[str], needed: tuple[str, ...]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, path, f"must be a mapping with {', '.join(sorted(keys))}")
            return {}
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key not in keys:
                self.fault(key_node, path, f"unknown key {str(key)[:40]!r}; known are {', '.join(sorted(keys))}")
            elif key in found:
                self.fault(key_node, path, f"{key!r} stands here twice")
            else:
                found[key] = value
        for key in needed:
            if key not in found:
                self.fault(node, path, f"{key!r} is missing")
        return found

    def sequence(self, node: yaml.Node | None, path: str, most: int) -> Iterator[tuple[str, yaml.Node]]:
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.fault(node, path, "must be a list with at least one item")
        elif len(node.value) > most:
            self.fault(node, path, f"has {len(node.value)} items; at most {most}")
        else:
            yield from ((f"{path}[{n}]", item) for n, item in enumerate(node.value))

    def scalar(self, node: yaml.Node | None, path: str, read: Callable[[str], T], default: T) -> T:
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, path, "must be plain text")
            return default
        try:
            return read(node.value)
        except Malformed as error:
            self.fault(node, path, str(error))
            return default

    def conditions(self, node: yaml.Node | None, path: str, *, facts: bool) -> tuple[Condition, ...]:
        if node is None:
            return ()
        one = isinstance(node, yaml.ScalarNode)
        items = iter([(path, node)]) if one else self.sequence(node, path, _MAX_CONDITIONS)
        read: list[Condition] = []
        for where, item in items:
            condition = self.scalar(item, where, domain.parse_condition, Condition(""))
            if condition.name and not facts and not condition.values:
                self.fault(item, where, f"{condition.name!r} is only known when a step is due; put it into the step")
            read.append(condition)
        return tuple(read)


def parse(text: str, catalogue: Catalogue, version: str) -> Playbook:
    """Read a play file. Raises InvalidInput with a fault `line N: where` → reason for everything that is wrong."""
    reading = _Reading(catalogue)
    root = _compose(text)
    top = reading.mapping(root, "file", {"version", "plays"}, ("version", "plays"))
    reading.scalar(top.get("version"), "version", _version, 1)
    plays: list[Play] = []
    for path, node in reading.sequence(top.get("plays"), "plays", _MAX_PLAYS):
        plays.append(_play(reading, node, path, {play.id for play in plays}))
    if reading.faults:
        first = reading.faults[0]
        more = f" (and {len(reading.faults) - 1} more)" if len(reading.faults) > 1 else ""
        raise InvalidInput(
            f"the play file is refused, the old one stays in force: {first.path}: {first.reason}{more}",
            faults=reading.faults,
        )
    return Playbook(version, tuple(plays))


def _compose(text: str) -> yaml.Node:
    if len(text.encode("utf-8", "surrogatepass")) > LIMIT_BYTES:
        raise _refused(1, f"the file is over {LIMIT_BYTES // 1024} KiB")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # A quote or bracket that is never closed is found at the end of the file, and was opened elsewhere.
        open_ended = "end of stream" in (error.problem or "")
        mark = (error.context_mark if open_ended else None) or error.problem_mark or error.context_mark
        raise _refused(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeError):
        raise _refused(1, "not YAML: it has characters that YAML does not allow") from None
    except RecursionError:
        raise _refused(1, "nested too deeply") from None
    if root is None:
        raise _refused(1, "the file is empty; it needs `version: 1` and `plays:`")
    return root


def _refused(line: int, reason: str) -> InvalidInput:
    return InvalidInput(
        f"the play file is refused, the old one stays in force: line {line}: {reason}",
        faults=[Fault(f"line {line}: file", reason)],
    )


def _play(reading: _Reading, node: yaml.Node, path: str, taken: Container[str]) -> Play:
    fields = reading.mapping(node, path, _PLAY_KEYS, ("id", "on", "steps"))
    play_id = reading.scalar(fields.get("id"), f"{path}.id", _name(taken, "play"), "")
    reading.scalar(fields.get("title"), f"{path}.title", _title, "")
    trigger = reading.scalar(fields.get("on"), f"{path}.on", _one_of(domain.TRIGGERS), "")
    when = reading.conditions(fields.get("when"), f"{path}.when", facts=False)
    max_age = reading.scalar(
        fields.get("max_age"), f"{path}.max_age", domain.parse_seconds, float(domain.DEFAULT_MAX_AGE_SECONDS)
    )
    steps: list[Step] = []
    nodes: list[yaml.Node] = []
    for where, item in reading.sequence(fields.get("steps"), f"{path}.steps", _MAX_STEPS):
        steps.append(_step(reading, item, where, {step.id for step in steps}))
        nodes.append(item)
    play = Play(play_id, trigger, tuple(steps), when, max_age)
    for step, item in zip(steps, nodes, strict=True):
        _lawful(reading, play, step, item, f"{path} ({play.id})")
    return play


def _step(reading: _Reading, node: yaml.Node, path: str, taken: Container[str]) -> Step:
    fields = reading.mapping(node, path, _STEP_KEYS, ("id", "after", "audience", "transport", "template"))
    step = Step(
        id=reading.scalar(fields.get("id"), f"{path}.id", _name(taken, "step"), ""),
        after_seconds=reading.scalar(fields.get("after"), f"{path}.after", domain.parse_seconds, 0.0),
        audience=reading.scalar(fields.get("audience"), f"{path}.audience", _one_of(domain.AUDIENCES), ""),
        transports=_transports(reading, fields.get("transport"), f"{path}.transport"),
        template=reading.scalar(
            fields.get("template"), f"{path}.template", _one_of(tuple(reading.catalogue.ids())), ""
        ),
        when=reading.conditions(fields.get("when"), f"{path}.when", facts=True),
        unless=reading.conditions(fields.get("unless"), f"{path}.unless", facts=True),
    )
    if step.audience == "customer" and step.transports not in ((), ("email",)):
        reading.fault(fields["transport"], f"{path}.transport", "customers are reached by email")
    if step.template and step.audience and reading.catalogue.audience(step.template) != step.audience:
        made_for = reading.catalogue.audience(step.template)
        reading.fault(fields["template"], f"{path}.template", f"{step.template!r} is written for {made_for}")
    return step


def _transports(reading: _Reading, node: yaml.Node | None, path: str) -> tuple[str, ...]:
    if node is None:
        return ()
    if isinstance(node, yaml.ScalarNode):
        chosen = reading.scalar(node, path, _one_of(domain.TRANSPORTS), "")
        return (chosen,) if chosen else ()
    items = reading.sequence(node, path, len(domain.TRANSPORTS))
    return tuple(filter(None, (reading.scalar(item, where, _one_of(domain.TRANSPORTS), "") for where, item in items)))


def _lawful(reading: _Reading, play: Play, step: Step, node: yaml.Node, path: str) -> None:
    if step.audience == "customer" and play.trigger == "score_alerted":
        reading.fault(node, path, "a score alert concerns no single customer; tell the manager")
    if not step.template or reading.catalogue.asks(step.template) != "public_review":
        return
    if gate := domain.gated(play, step):
        reading.fault(
            node,
            path,
            f"asks for a public review only if `{gate}`: that is review gating, which Google's policy and the FTC "
            "forbid; ask everybody, or ask for a private testimonial",
        )


def _version(text: str) -> int:
    if text != "1":
        raise Malformed(f"{text[:20]!r} is not a version of this language; write 1")
    return 1


def _title(text: str) -> str:
    if len(text) > 200:
        raise Malformed("a title has at most 200 characters")
    return text


def _name(taken: Container[str], what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not _NAME.fullmatch(text):
            raise Malformed(f"{text[:40]!r} is not an id; use a–z, 0–9 and -, at most 60, such as detractor-apology")
        if text in taken:
            raise Malformed(f"another {what} has the id {text!r}")
        return text

    return read


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise Malformed(f"{text[:40]!r} is not known; it is one of {', '.join(allowed)}")
        return text

    return read
