"""Small JSON paths for field maps: `data.fields[0].value`, `items[*]`. No expressions: a map is data, not code."""

import re
from typing import Any

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,4}|\*)\]")
Step = str | int
EVERY = "[*]"


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path; `$` is the whole. Raises ValueError."""
    rest = text.removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            raise ValueError(f"{text!r} is not a path; write it as data.fields[0].value")
        name, index = match.groups()
        steps.append(name if name is not None else EVERY if index == "*" else int(index))
        position = match.end()
    return tuple(steps)


def find(value: Any, steps: tuple[Step, ...]) -> Any:
    """What stands at a path, or None."""
    for step in steps:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def find_all(value: Any, steps: tuple[Step, ...]) -> list[Any]:
    """Everything at a path with `[*]` in it; a missing branch gives nothing."""
    found = [value]
    for step in steps:
        if step == EVERY:
            found = [child for item in found if isinstance(item, list) for child in item]
        else:
            found = [child for item in found if (child := find(item, (step,))) is not None]
    return found
