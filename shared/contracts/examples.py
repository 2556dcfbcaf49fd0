"""The example events under `examples/<EventName>/`: one truth for tests, documentation and the AsyncAPI document.

A file is one record, `{"headers": {…}, "data": {…}}`, and its name says what it shows. All people in them are invented.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.contracts.attributes import CloudEventsHeaders
from shared.contracts.envelope import Event, EventData
from shared.core.errors import Fault, InvalidInput

FOLDER = Path(__file__).parent / "examples"
N = TypeVar("N", bound=EventData)


@dataclass(frozen=True, slots=True)
class Example:
    """One file as it stands: `name` is what it shows, such as `survey_nps_english`."""

    name: str
    headers: dict[str, str]
    data: dict[str, Any]


def example_files(kind: type[EventData]) -> list[Example]:
    """The files of one event type, by name."""
    files = sorted((FOLDER / kind.__name__).glob("*.json"))
    return [Example(file.stem, **json.loads(file.read_text(encoding="utf-8"))) for file in files]


def examples(kind: type[N]) -> list[Event[N]]:
    """The examples of one event type as events. Raises InvalidInput, which names the file and the place."""
    return [_event(kind, example) for example in example_files(kind)]


def _event(kind: type[N], example: Example) -> Event[N]:
    try:
        if example.headers.get("ce_type") != kind.event_type:
            raise InvalidInput(f"examples/{kind.__name__}/{example.name}.json: ce_type is not {kind.event_type}")
        headers = CloudEventsHeaders.model_validate_json(json.dumps(example.headers))
        data = kind.model_validate_json(json.dumps(example.data))
    except ValidationError as error:
        faults = [Fault(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        places = "; ".join(f"{fault.path}: {fault.reason}" for fault in faults)
        raise InvalidInput(f"examples/{kind.__name__}/{example.name}.json: {places}", faults=faults) from None
    return headers.event(data)
