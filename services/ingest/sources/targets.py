"""Names of canonical fields in settings and CSV headers: `customer.email`, `ratings[0].value` or `ratings.0.value`."""

from typing import Annotated, get_args

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from services.ingest.inputs import FeedbackIn
from services.ingest.sources.paths import parse_path

Steps = tuple[str | int, ...]


def target(text: object) -> Steps:
    """The steps of a canonical field's name. Raises ValueError, which lists the names there are."""
    if not isinstance(text, str):
        raise ValueError("must be the name of a field, as text")
    steps = tuple(int(step) if isinstance(step, str) and step.isdecimal() else step for step in parse_path(text))
    shape = ".".join("0" if isinstance(step, int) else step for step in steps)
    if shape not in NAMES or any(isinstance(step, int) and step >= 16 for step in steps):
        raise ValueError(f"{text[:80]!r} is not a field; there are: {', '.join(sorted(NAMES))}")
    return steps


def _names(model: type[BaseModel], before: str = "") -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            names.add(f"{before}{name}")
        else:
            several = "0." if name == "ratings" else ""
            names |= _names(inner, f"{before}{name}.{several}")
    return names


NAMES: frozenset[str] = frozenset(_names(FeedbackIn))
Target = Annotated[
    Steps, BeforeValidator(target), PlainSerializer(lambda steps: ".".join(map(str, steps)), return_type=str)
]
