"""The transfer of a file: part after part, with progress kept beside the file so that it can go on where it stopped.

After each part its refused rows are written first, then the progress. A kill between the two, or before, repeats that
part: ids repeat, and the refused file is cut back to what the progress knows.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from services.ingest.history.files import Looked
from services.ingest.history.mapping import ColumnMapping, Converter
from services.ingest.history.parts import Occurrences, Part, parts_of
from services.ingest.history.refusals import Refused, RefusedFile
from services.ingest.history.sending import Send
from services.ingest.history.tables import Table, rows_of
from shared.core.errors import Conflict, Fault

_SHOWN_REFUSALS = 20


class Progress(BaseModel):
    """What is behind us. `line` is the last line that is done, `end` its place in bytes."""

    model_config = ConfigDict(extra="forbid")

    file: str
    mapping: str
    url: str
    line: int = 0
    end: int = 0
    accepted: int = 0
    refused: int = 0
    refused_bytes: int = 0
    done: bool = False


@dataclass(slots=True)
class Outcome:
    """How it ended. `first` are the first refused rows."""

    accepted: int = 0
    refused: int = 0
    first: list[Refused] = field(default_factory=list)


def progress_path(path: Path) -> Path:
    """Where the progress of a file stands."""
    return path.with_name(f"{path.name}.closeloop-import.json")


def refused_path(path: Path, table: Table) -> Path:
    """Where its refused rows go."""
    return path.with_name(f"{path.name}.refused.{'ndjson' if table.json else 'csv'}")


def source_name(path: Path) -> str:
    """The name that ids are made of: rows that were refused, mended and sent from their own file keep it."""
    name = path.name
    while name.endswith((".refused.csv", ".refused.ndjson")):
        name = name.rpartition(".refused.")[0]
    return name


def begin(path: Path, looked: Looked, table: Table, mapping: ColumnMapping, url: str, *, restart: bool) -> Progress:
    """The progress to go on from. Raises Conflict where it belongs to another file, mapping or address."""
    text = f"{table!r}\x1f{mapping.model_dump_json()}"
    new = Progress(file=looked.digest, mapping=hashlib.sha256(text.encode(errors="replace")).hexdigest(), url=url)
    kept = progress_path(path)
    if restart or not kept.exists():
        return new
    try:
        old = Progress.model_validate_json(kept.read_bytes())
    except ValidationError:
        raise Conflict(f"{kept.name} cannot be read; --restart begins anew (what is in is not doubled)") from None
    for name, what in (("file", "the file"), ("mapping", "the mapping"), ("url", "the address")):
        if getattr(old, name) != getattr(new, name):
            raise Conflict(
                f"{what} is not the one that this import began with, {old.accepted} rows ago; --restart begins anew"
            )
    return old


def keep(path: Path, progress: Progress) -> None:
    """Write it whole or not at all."""
    kept = progress_path(path)
    new = kept.with_name(f"{kept.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(progress.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    new.replace(kept)


def transfer(
    path: Path,
    table: Table,
    mapping: ColumnMapping,
    looked: Looked,
    send: Send,
    progress: Progress | None,
    each: Callable[[Outcome, int], None],
) -> Outcome:
    """Send what is left; with no `progress` nothing is written. `each` gets the counts and the bytes that are done."""
    outcome = Outcome()
    refused_file = None
    after = 0
    if progress is not None:
        refused_file = RefusedFile(refused_path(path, table), table, progress.refused_bytes, path)
        outcome.accepted, outcome.refused, after = progress.accepted, progress.refused, progress.line
        keep(path, progress)
    convert = Converter(mapping)
    with Occurrences(looked.lines) as occurrences:
        for part in parts_of(rows_of(path, table), convert, source_name(path), occurrences, after=after):
            refused = _sent(part, send, convert)
            outcome.accepted += part.count - len(refused)
            outcome.refused += len(refused)
            outcome.first += refused[: _SHOWN_REFUSALS - len(outcome.first)]
            if progress is not None and refused_file is not None:
                refused_file.add(refused)
                progress = progress.model_copy(
                    update={"line": part.last, "end": part.end, "accepted": outcome.accepted,
                            "refused": outcome.refused, "refused_bytes": refused_file.size}
                )  # fmt: skip
                keep(path, progress)
            each(outcome, part.end)
    if progress is not None:
        keep(path, progress.model_copy(update={"done": True}))
    return outcome


def _sent(part: Part, send: Send, convert: Converter) -> list[Refused]:
    """Send a part; its refused rows in the order of the file, with their faults by column."""
    refused = list(part.refused)
    for place, faults in send(part.lines) if part.lines else ():
        row = part.rows[place]
        refused.append((row, [Fault(convert.column_of(row.cells, fault.path), fault.reason) for fault in faults]))
    return sorted(refused, key=lambda one: one[0].number)
