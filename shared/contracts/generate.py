"""`make contracts`: writes the JSON Schemas and the AsyncAPI document anew from the event models.

It refuses to overwrite a schema by one that breaks a reader (compatibility.py). A released event then needs a new
version beside the old one; for an event that nobody has read yet, delete its file under `schemas/` and run this again.

`make contracts ARGS=--release` also copies the schemas to `released/`, the baseline that the models are held to from
then on. Run it once per release, with the new version in pyproject.toml, and commit the result with the tag.
"""

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.contracts.asyncapi import document
from shared.contracts.compatibility import breaking_changes
from shared.contracts.envelope import EventData
from shared.contracts.registry import EVENTS
from shared.core.errors import CloseloopError

FOLDER = Path(__file__).parent
SCHEMAS = FOLDER / "schemas"
RELEASED = FOLDER / "released"
ASYNCAPI = FOLDER / "asyncapi.json"
_PYPROJECT = FOLDER.parents[1] / "pyproject.toml"


def json_schema(kind: type[EventData]) -> dict[str, Any]:
    """The schema of an event's data as a reader needs it: what may be absent is not required, unknown is ignored."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:closeloop:event:{kind.event_type}",
        **kind.model_json_schema(mode="validation"),
    }


def project_version() -> str:
    """The version in pyproject.toml: this runs in a checkout, where the installed one may be stale."""
    return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


def documents() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    texts = {SCHEMAS / f"{kind.__name__}.json": _text(json_schema(kind)) for kind in EVENTS}
    return texts | {ASYNCAPI: _text(document(project_version()))}


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n"


def breaks(baseline: Path) -> list[str]:
    """What the models break for readers of the schemas in folder `baseline`, one line each."""
    models = {kind.__name__: kind for kind in EVENTS}
    lines = []
    for file in sorted(baseline.glob("*.json")):
        if (kind := models.get(file.stem)) is None:
            lines.append(f"{file.stem}: the event is gone; readers still have it")
            continue
        committed = json.loads(file.read_text(encoding="utf-8"))
        lines += [f"{file.stem}: {line}" for line in breaking_changes(committed, json_schema(kind))]
    return lines


def _write(texts: dict[Path, str]) -> list[str]:
    """Write what differs; the names of the files written."""
    written = []
    for file, text in texts.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
            written.append(file.relative_to(FOLDER).as_posix())
    return written


def _release() -> dict[Path, str]:
    """The baseline as it should be after a release."""
    copies = {RELEASED / f"{kind.__name__}.json": _text(json_schema(kind)) for kind in EVENTS}
    return copies | {RELEASED / "VERSION": project_version() + "\n"}


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 written, 1 refused, 2 wrong usage."""
    if set(arguments) - {"--release"}:
        sys.stderr.write("usage: make contracts [ARGS=--release]\n")
        return 2
    if lines := sorted({*breaks(SCHEMAS), *breaks(RELEASED)}):
        sys.stderr.write("".join(f"refused: {line}\n" for line in lines))
        sys.stderr.write(
            "Nothing was written. Make a new version of the event; if it was never released, delete its file.\n"
        )
        return 1
    try:
        texts = documents() | (_release() if "--release" in arguments else {})
    except CloseloopError as error:
        sys.stderr.write(f"refused: {error.detail}\n")
        return 1
    written = _write(texts)
    for name in written:
        sys.stdout.write(f"wrote shared/contracts/{name}\n")
    sys.stdout.write(f"{len(texts) - len(written)} of {len(texts)} files were up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
