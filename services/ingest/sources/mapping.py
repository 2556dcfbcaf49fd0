"""Field maps: which field of the feedback stands where in a vendor's body, as data."""

from collections.abc import Mapping
from typing import Any

from services.ingest.decoding import invalid
from services.ingest.sources.base import place
from services.ingest.sources.paths import Step, find, parse_path
from services.ingest.sources.targets import Steps, target
from shared.core.errors import Fault

# First steps of fields that are no text; vendors send ids and names as numbers, ours are text.
_NO_TEXT = frozenset({"score", "ratings", "revision", "occurred_at", "removed", "public"})


class FieldMap:
    """`fields` is field of the feedback → path in an object of the vendor: {"customer.email": "person.email"}."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        self._steps: list[tuple[Steps, tuple[Step, ...]]] = [
            (target(name), parse_path(path)) for name, path in fields.items()
        ]

    def fill(self, item: dict[str, Any], source: Any) -> dict[str, Any]:
        """`item` with what `source` has; what is null or an empty text is absent. Raises InvalidInput."""
        for steps, path in self._steps:
            put(item, steps, find(source, path))
        return item


def put(item: dict[str, Any], steps: Steps, value: Any) -> None:
    """Set a field of `item` unless the value is null or an empty text. Raises InvalidInput where fields clash."""
    if value is None or value == "":
        return
    try:
        place(item, steps, as_field(steps, value))
    except ValueError as error:
        raise invalid([Fault("settings", str(error))]) from None


def as_field(steps: Steps, value: Any) -> Any:
    """A number as text where the field is one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and steps[0] not in _NO_TEXT else value
