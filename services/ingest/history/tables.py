"""A file as a table: its form, its columns, and its rows with their cells.

NDJSON is a table too: a column is the path of a value, as `customer.email` or `ratings.0.value`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from services.ingest.decoding import decode_json
from services.ingest.history.files import Encoding, Line, lines_of
from services.ingest.history.mapping import Form
from services.ingest.history.words import fold
from services.ingest.importing import DELIMITERS, cells_of
from shared.core.errors import Fault, InvalidInput

# Written by us in front of what was refused; left out when that file is imported.
LINE, REASON, TEXT = "closeloop_line", "closeloop_reason", "closeloop_text"
OURS = frozenset({LINE, REASON, TEXT})
SAMPLE_ROWS = 1_000
MAX_COLUMNS = 2_000
# One encoder for all: json.dumps makes one a call where an option is not the default.
_dumps = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class Table:
    """`head` holds the header rows as they stand in the file, without what we wrote in front of them; `first` is the
    number of the line behind them."""

    form: Form
    encoding: Encoding
    columns: tuple[str, ...]
    delimiter: str = ","
    head: tuple[str, ...] = ()
    first: int = 1
    ours: int = 0

    @property
    def json(self) -> bool:
        """NDJSON, not CSV."""
        return self.form == "ndjson"


@dataclass(slots=True)
class Row:
    """A row: `raw` is its text without what we wrote in front of it, `content` what it says whatever its spelling.

    `faults` say why it has no cells; `broken`: its text is no row of the table's form.
    """

    number: int
    raw: str
    cells: dict[str, Any] = field(default_factory=dict)
    content: str = ""
    faults: tuple[Fault, ...] = ()
    broken: bool = False
    end: int = 0


def table_of(path: Path, encoding: Encoding, form: Form | None) -> tuple[Table, list[Row]]:
    """The table and its first rows. Raises InvalidInput where there is none."""
    if form is None or form == "ndjson":
        first = next(lines_of(path, encoding, multiline=False), Line(0, ""))
        start = first.text.lstrip()
        if start.startswith("["):
            raise InvalidInput("the file is a JSON array; write one object a line (jq -c '.[]' does that)")
        if form == "ndjson" or start.startswith("{"):
            table = Table("ndjson", encoding, ())
            sample = list(islice(rows_of(path, table), SAMPLE_ROWS))
            return Table("ndjson", encoding, _few(name for row in sample for name in row.cells)), sample
    lines = list(islice(lines_of(path, encoding, multiline=True), SAMPLE_ROWS + 3))
    table = _csv(lines, encoding, form)
    return table, list(islice(rows_of(path, table), SAMPLE_ROWS))


def rows_of(path: Path, table: Table) -> Iterator[Row]:
    """The rows, in bounded memory."""
    read = _json_row if table.json else _csv_row
    for line in lines_of(path, table.encoding, multiline=not table.json):
        if line.number < table.first:
            continue
        if line.fault is not None:
            fault = Fault("$", line.fault)
            yield Row(line.number, line.text, content=line.text, faults=(fault,), broken=True, end=line.end)
            continue
        row = read(line, table)
        row.end = line.end
        yield row


def _json_row(line: Line, table: Table) -> Row:
    del table
    try:
        value = decode_json(line.text.encode(errors="replace"))
    except InvalidInput as error:
        return Row(line.number, line.text, content=line.text, faults=error.faults, broken=not _is_object(line.text))
    if not isinstance(value, dict):
        fault = Fault("$", "must be an object")
        return Row(line.number, line.text, content=line.text, faults=(fault,), broken=True)
    raw = line.text
    if OURS & value.keys():
        if isinstance(value.get(TEXT), str):
            text, fault = (
                value[TEXT],
                Fault("$", f"was no object; mend the text in {TEXT} and put it in place of the line"),
            )
            return Row(line.number, text, content=text, faults=(fault,), broken=True)
        value = {name: inner for name, inner in value.items() if name not in OURS}
        raw = json.dumps(value, ensure_ascii=False)
    cells = list(_leaves(value))
    content = _dumps(value)
    if len(dict(cells)) != len(cells):
        fault = Fault("$", "has two values at one path: a name with points, and an object")
        return Row(line.number, raw, content=content, faults=(fault,))
    return Row(line.number, raw, dict(cells), content)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _leaves(value: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{before}{name}.")
    else:
        yield before.removesuffix("."), value


def _csv_row(line: Line, table: Table) -> Row:
    raw = line.text
    try:
        cells = cells_of(line.text, table.delimiter)
    except InvalidInput as error:
        return Row(line.number, raw, content=raw, faults=error.faults, broken=True)
    if table.ours:
        cells = cells[table.ours :]
        raw = written(cells, table.delimiter)
    content = _dumps(cells)
    if len(cells) != len(table.columns):
        fault = Fault("$", f"has {len(cells)} cells; the header has {len(table.columns)}")
        return Row(line.number, raw, content=content, faults=(fault,))
    return Row(line.number, raw, dict(zip(table.columns, cells, strict=True)), content)


def written(cells: Sequence[str], delimiter: str) -> str:
    """Cells as one CSV row, without its end."""
    quoted = (f'"{cell.replace(chr(34), chr(34) * 2)}"' if _special(cell, delimiter) else cell for cell in cells)
    return delimiter.join(quoted)


def _special(cell: str, delimiter: str) -> bool:
    return any(mark in cell for mark in (delimiter, '"', "\n", "\r")) or cell != cell.strip()


def _csv(lines: list[Line], encoding: Encoding, form: Form | None) -> Table:
    said = ""
    if lines and lines[0].text.lower().startswith("sep=") and len(lines[0].text.strip()) <= 5:
        said = lines.pop(0).text.strip()[4:] or "\t"  # Excel's word for the delimiter
    if not lines or "\x00" in lines[0].text:
        raise InvalidInput("the file holds no text; give CSV or NDJSON" if lines else "the file holds no rows")
    delimiter = said if said in DELIMITERS else _delimiter([line.text for line in lines[:50]])
    header = _cells(lines[0], delimiter)
    ours = 2 if header[:2] == [LINE, REASON] else 0
    header = ["".join(mark if mark.isprintable() or mark in "\u200c\u200d" else " " for mark in cell).strip()
              for cell in header[ours:]]  # fmt: skip
    _few(map(str, range(len(header))))
    if not any(header):
        raise InvalidInput("the first line names no columns")
    form = form or _form(header)
    below = _below(lines, delimiter)[ours:] if form == "surveymonkey" else []
    two = len(below) == len(header) and not below[0].strip()
    heads = [header, below] if two else [header]
    columns = _unique(_two_rows(header, below) if two else header)
    first = lines[len(heads)].number if len(lines) > len(heads) else lines[-1].number + 1
    return Table(form, encoding, tuple(columns), delimiter, tuple(written(h, delimiter) for h in heads), first, ours)


def _cells(line: Line, delimiter: str) -> list[str]:
    if line.fault is not None:
        raise InvalidInput(f"line {line.number}: the header {line.fault}")
    try:
        return cells_of(line.text, delimiter)
    except InvalidInput as error:
        raise InvalidInput(f"line {line.number}: the header {error.faults[0].reason}") from None


def _below(lines: list[Line], delimiter: str) -> list[str]:
    """The cells of the second row, where it has any."""
    try:
        return _cells(lines[1], delimiter) if len(lines) > 1 else []
    except InvalidInput:
        return []


def _delimiter(texts: list[str]) -> str:
    """By which most rows have as many cells as the header; where all say alike, by which there are most cells."""

    def fit(delimiter: str) -> tuple[int, int]:
        counts = []
        for text in texts:
            try:
                counts.append(len(cells_of(text, delimiter)))
            except InvalidInput:
                counts.append(0)
        return (sum(count == counts[0] for count in counts) if counts[0] > 1 else 0, counts[0])

    return max(DELIMITERS, key=fit)


def _form(header: list[str]) -> Form:
    names = set(map(fold, header))
    if {"respondent id", "collector id"} <= names:
        return "surveymonkey"
    if "#" in names and ({"submit date utc", "network id"} & names):
        return "typeform"
    if {"score", "comment"} <= names and {"permalink", "survey type", "person id"} & names:
        return "delighted"
    return "csv"


def _two_rows(header: list[str], below: list[str]) -> list[str]:
    """A question over several columns stands above the first of them; below stand its parts."""
    names, question = [], ""
    for above, part in zip(header, (cell.strip() for cell in below), strict=True):
        question = above or question
        plain = not part or fold(part) in ("response", "open ended response")
        names.append(question if plain else f"{question} | {part}")
    return names


def _unique(names: list[str]) -> list[str]:
    found: dict[str, None] = {}
    for number, name in enumerate(names, start=1):
        shown = name or f"column {number}"
        again = 2
        while shown in found:
            shown, again = f"{name or 'column'} ({again})", again + 1
        found[shown] = None
    return list(found)


def _few(columns: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(columns))
    if len(found) > MAX_COLUMNS:
        raise InvalidInput(f"the file has {len(found):,} columns; at most {MAX_COLUMNS:,} are read")
    return found
