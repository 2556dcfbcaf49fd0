"""The file of what was refused: each row as it was, with its line and the reason, to be mended and imported alone.

In CSV the two stand in front, so that what follows is the row untouched. What is no row at all is one quoted cell
there, and the value of `closeloop_text` in NDJSON.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from services.ingest.history.tables import LINE, REASON, TEXT, Row, Table, written
from shared.core.errors import Fault

Refused = tuple[Row, Sequence[Fault]]


def said(faults: Sequence[Fault]) -> str:
    """Why, on one line."""
    shown = (fault.reason if fault.path == "$" else f"{fault.path}: {fault.reason}" for fault in faults)
    # Names of columns are the file's: a terminal must not obey them.
    return "".join(mark if mark.isprintable() else " " for mark in "; ".join(shown)[:2_000])


def head_of(table: Table) -> str:
    """What the file begins with; spreadsheets know UTF-8 by the mark."""
    if table.json:
        return ""
    names = [f"{LINE}{table.delimiter}{REASON}", *[table.delimiter] * (len(table.head) - 1)]
    rows = (f"{name}{table.delimiter}{row}\n" for name, row in zip(names, table.head, strict=True))
    return "\ufeff" + "".join(rows)


def line_of(table: Table, row: Row, faults: Sequence[Fault]) -> str:
    """One refused row with its end."""
    why = said(faults)
    if table.json:
        ours = json.dumps({LINE: row.number, REASON: why}, ensure_ascii=False)[:-1]
        inner = row.raw.strip()
        if row.broken:
            return f"{ours}, {json.dumps(TEXT)}: {json.dumps(row.raw, ensure_ascii=False)}}}\n"
        return f"{ours}, {inner[1:].lstrip()}\n" if inner[1:-1].strip() else f"{ours}}}\n"
    raw = written([row.raw], table.delimiter) if row.broken else row.raw
    return f"{written([str(row.number), why], table.delimiter)}{table.delimiter}{raw}\n"


class RefusedFile:
    """Appends; `size` bytes of it are known to be whole. It is made by the first refusal, as private as `source` is."""

    def __init__(self, path: Path, table: Table, size: int, source: Path) -> None:
        self.path = path
        self._table = table
        self._source = source
        there = path.stat().st_size if path.exists() else 0
        self.size = size if size <= there else 0
        if self.size:
            os.truncate(path, self.size)
        elif there:
            path.replace(path.with_name(f"{path.name}.old"))  # somebody may be mending it

    def add(self, refused: Iterable[Refused]) -> None:
        """Write and sync."""
        text = "".join(line_of(self._table, row, faults) for row, faults in refused)
        if not text:
            return
        self.path.touch(mode=self._source.stat().st_mode & 0o666)
        with self.path.open("ab") as file:
            file.write(((head_of(self._table) if not self.size else "") + text).encode(errors="replace"))
            file.flush()
            os.fsync(file.fileno())
            self.size = file.tell()
