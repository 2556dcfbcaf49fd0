"""Rows in parts of bounded size, each row with an id that repeats when the file is imported again."""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from services.ingest.history.mapping import Converter
from services.ingest.history.refusals import Refused
from services.ingest.history.tables import Row
from shared.core.errors import InvalidInput

PART_ROWS = 5_000
PART_BYTES = 4 * 1024 * 1024
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Part:
    """`lines` are NDJSON, of the rows in `rows` at the same place. `last` is the number of the last row it covers."""

    lines: list[bytes] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    last: int = 0
    end: int = 0

    @property
    def count(self) -> int:
        """Rows that it covers."""
        return len(self.rows) + len(self.refused)


def parts_of(
    rows: Iterable[Row], convert: Converter, name: str, occurrences: "Occurrences", *, after: int = 0
) -> Iterator[Part]:
    """The parts behind row `after`; `name` is the file's, which an id is made of where a row has none."""
    part = Part()
    size = 0
    for row in rows:
        named = not row.faults and convert.own_id(row.cells)
        again = 0 if named else occurrences.count(hashlib.sha256(row.content.encode(errors="replace")).digest())
        if row.number <= after:
            continue
        try:
            item = _item(row, convert)
        except InvalidInput as error:
            part.refused.append((row, error.faults))
            size += len(row.raw)
        else:
            if not named:
                item["id"] = _id(name, row.content, again)
            line = _dumps(item).encode(errors="replace") + b"\n"
            part.lines.append(line)
            part.rows.append(row)
            size += len(line)
        part.last, part.end = row.number, row.end
        if part.count >= PART_ROWS or size >= PART_BYTES:
            yield part
            part, size = Part(), 0
    if part.count:
        yield part


def _item(row: Row, convert: Converter) -> dict[str, object]:
    if row.faults:
        raise InvalidInput("no row", faults=row.faults)
    return convert.item(row.cells)


def _id(name: str, content: str, again: int) -> str:
    digest = hashlib.sha256(f"{name}\x1f{again}\x1f{content}".encode(errors="replace")).hexdigest()
    return f"row:{digest[:40]}"


class Occurrences:
    """Counts how often a content came before. A hash table in a temporary file, because it grows with the file that is
    imported and memory must not: 12 bytes a slot, at least two slots a line."""

    _SLOT = struct.Struct("<QL")

    def __init__(self, lines: int) -> None:
        self._mask = (1 << max(8, (2 * lines).bit_length())) - 1
        self._file = TemporaryFile(prefix="closeloop-import-")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def count(self, digest: bytes) -> int:
        """How often `digest` was counted before. Its first 8 bytes are taken for the whole."""
        key = int.from_bytes(digest[:8]) or 1
        slot = key & self._mask
        descriptor, width = self._file.fileno(), self._SLOT.size
        while True:
            stored, count = self._SLOT.unpack(os.pread(descriptor, width, slot * width).ljust(width, b"\0"))
            if stored in (0, key):
                os.pwrite(descriptor, self._SLOT.pack(key, count + 1), slot * width)
                return int(count)
            slot = (slot + 1) & self._mask
