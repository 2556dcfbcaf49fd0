"""Writes .env.example from the settings classes: `make contracts`. A test holds the file against the code."""

from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from services.ingest.config import IngestSettings
from services.node.config import NodeSettings
from services.notifier.config import NotifierSettings
from services.routing.config import RoutingSettings
from services.scoring.config import ScoringSettings
from shared.core.settings import Settings
from shared.runtime.process import ProcessSettings

FILE = Path(__file__).parents[1] / ".env.example"
_HEAD = """\
# Every setting, with its default. Copy to .env and uncomment what you change; the environment wins over the file.
# Lists and maps are JSON. `make contracts` writes this file from the code.
"""
_SECTIONS: tuple[tuple[str, type[Settings]], ...] = (
    ("every process", Settings),
    ("every process with an HTTP port", ProcessSettings),
    ("single node (closeloop up)", NodeSettings),
    ("ingest", IngestSettings),
    ("scoring", ScoringSettings),
    ("routing", RoutingSettings),
    ("notifier", NotifierSettings),
)


def text() -> str:
    """What .env.example holds."""
    seen: set[str] = set()
    lines = [_HEAD]
    for title, kind in _SECTIONS:
        fields = {name: field for name, field in kind.model_fields.items() if name not in seen}
        seen |= set(fields)
        if fields:
            lines.append(f"\n# --- {title}\n")
        for name, field in fields.items():
            if field.description:
                lines.append(f"# {field.description}\n")
            lines.append(f"#{name.upper()}={_shown(field)}\n")
    return "".join(lines)


def _shown(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ",".join(f"{item:g}" if isinstance(item, float) else f'"{item}"' for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.name}")
