"""Every example of every event, and ways to spoil one place of it."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.contracts.envelope import EventData
from shared.contracts.examples import Example, example_files
from shared.contracts.registry import EVENTS

Path = tuple[str | int, ...]

EXAMPLES = [
    pytest.param(kind, example, id=f"{kind.__name__}/{example.name}")
    for kind in EVENTS
    for example in example_files(kind)
]
KINDS = [pytest.param(kind, id=kind.__name__) for kind in EVENTS]


def leaves(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar with its path."""
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for step, value in items:
            yield from leaves(value, (*path, step))
    else:
        yield path, data


def replaced(data: Any, path: Path, value: Any) -> Any:
    """A copy of `data` with the value at `path` replaced, or added."""
    copied = copy.deepcopy(data)
    place = copied
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copied


def with_raw(data: Any, path: Path, token: str) -> str:
    """JSON with a token at `path` that no JSON library would write."""
    return json.dumps(replaced(data, path, "@token@")).replace('"@token@"', token)


def parsed(kind: type[EventData], example: Example) -> EventData:
    """The model of an example's data."""
    return kind.model_validate_json(json.dumps(example.data))
