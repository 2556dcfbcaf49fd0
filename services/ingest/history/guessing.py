"""Guesses which column is which field: by its name, with its contents as a check, and by its contents alone.

A guess is shown before anything is sent. What is not clear (what a score measures, the order of day and month, when it
was said) is not guessed: it becomes a fault that says what to add.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from services.ingest.history.mapping import UNCLEAR, ColumnMapping, Form
from services.ingest.history.values import Order, number, orders
from services.ingest.history.words import ASKED, BESIDE, BORN, FIELDS, NAMES, SCORES, VENDORS, fold
from services.ingest.sources.targets import NAMES as FIELD_NAMES
from shared.contracts.feedback_received import DEFAULT_SCALES
from shared.core.errors import Fault

Samples = Mapping[str, Sequence[str]]
_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")
_SHORT_NUMBER = re.compile(r"\d{1,6}")
# So many of a column's cells must be what its name says: some are always odd.
_MOST = 0.8
_CHANNELS: dict[Form, str] = {"delighted": "email", "surveymonkey": "web", "typeform": "web"}


def samples_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The cells of each column that are not empty, as text."""
    return {
        column: [str(cell) for row in rows if (cell := row.get(column)) is not None and str(cell).strip()]
        for column in columns
    }


def native(columns: Sequence[str]) -> bool:
    """Whether all columns are named as the endpoint's fields: nothing is to be guessed."""
    return all(re.sub(r"\.\d+\.", ".0.", column) in FIELD_NAMES for column in columns)


def guess(form: Form, samples: Samples, stem: str) -> ColumnMapping:
    """The mapping of a file; `stem` is its name without the ending, which names its survey."""
    if native(list(samples)):
        return ColumnMapping(columns={column: column for column in samples})
    found = _Guess(form, samples)
    found.named()
    found.people()
    found.scores()
    found.contents()
    mapping = ColumnMapping(columns=found.columns)
    constants: dict[str, str] = {}
    if form in _CHANNELS:
        constants["channel"] = _CHANNELS[form]
    if mapping.rated() or form in _CHANNELS:
        constants |= {"survey.id": stem[:80].strip() or form, "survey.type": "transactional"}
    constants = {name: value for name, value in constants.items() if name not in mapping.targets()}
    return mapping.model_copy(update={"constants": constants, "id_prefix": _prefix(found, stem)})


def settled(mapping: ColumnMapping, samples: Samples) -> tuple[ColumnMapping, list[Fault]]:
    """The mapping with what follows from it, and why it cannot be used yet."""
    columns, constants = dict(mapping.columns), dict(mapping.constants)
    unclear = [column for column, to in columns.items() if to == UNCLEAR]
    if "metric" in constants and len(unclear) == 1 and "score" not in columns.values():
        columns[unclear[0]] = "score"
    mapping = mapping.model_copy(update={"columns": columns})
    faults = mapping.faults()
    targets = mapping.targets()
    dated = [column for column, to in columns.items() if to == "occurred_at"]
    if dated and mapping.dates is None:
        mapping, fault = _ordered(mapping, dated[0], samples.get(dated[0], ()))
        faults += fault
    if not native(list(columns)):
        if "occurred_at" not in targets:
            faults.append(Fault("occurred_at", 'no column says when it was said; add --map "Column=occurred_at" or '
                                               "--set occurred_at=2024-06-30"))  # fmt: skip
        if not mapping.rated() and not {"text", "title"} & targets:
            faults.append(Fault("$", 'no column holds a score or a text; add --map "Column=nps", "Column=text", …'))
    return mapping, faults


def _ordered(mapping: ColumnMapping, column: str, cells: Sequence[str]) -> tuple[ColumnMapping, list[Fault]]:
    """Day and month are told apart by a cell that only one order fits, else by the point that only one order has."""
    fits: dict[Order, int] = {order: sum(order in orders(cell) for cell in cells) for order in get_args(Order)}
    best = max(fits.values(), default=0)
    likely = [order for order, fit in fits.items() if fit == best]
    if len(likely) == 3 or not cells:
        return mapping.model_copy(update={"dates": "ymd"}), []
    if len(likely) == 1 or all("." in cell.strip()[:10] for cell in cells):
        return mapping.model_copy(update={"dates": likely[0]}), []
    example = cells[0][:20]
    return mapping, [Fault(column, f"holds dates like {example!r}; say which is the day: --dates dmy or --dates mdy")]


def _prefix(found: "_Guess", stem: str) -> str:
    """What tells the ids of this file from those of others: the tool that made them; the file itself, where they are
    short numbers, which are row numbers that every file has."""
    column = next((column for column, to in found.columns.items() if to == "id"), None)
    if column is None:
        return ""
    if found.form in _CHANNELS:
        return f"{found.form}:"
    return f"{stem[:80]}:" if _most(found.samples[column], lambda cell: bool(_SHORT_NUMBER.fullmatch(cell))) else ""


class _Guess:
    def __init__(self, form: Form, samples: Samples) -> None:
        self.form = form
        self.samples = samples
        self.columns = dict.fromkeys(samples, "")
        self._folded = {column: fold(column) for column in samples}
        self._beside = {column for column, name in self._folded.items() if name in BESIDE.get(form, ())}

    def _free(self) -> list[str]:
        return [column for column, to in self.columns.items() if not to and column not in self._beside]

    def _fits(self, field: str, column: str) -> bool:
        check = _CHECKS.get(field)
        return check is None or not self.samples[column] or _most(self.samples[column], check)

    def named(self) -> None:
        """Columns by name."""
        names = FIELD_NAMES if "metric" in self.samples else FIELD_NAMES - {"score"}
        self.columns |= {column: column for column in self.samples if column in names}
        for field, known in FIELDS.items():
            if field in self.columns.values():
                continue
            words = (*VENDORS.get(self.form, {}).get(field, ()), *known)
            fitting = (
                column
                for word in words
                for column, name in self._folded.items()
                if name == word and not self.columns[column] and self._fits(field, column)
            )
            if (column := next(fitting, None)) is not None:
                self.columns[column] = field

    def people(self) -> None:
        """A name is one column, or a first and a last one."""
        if any(to == "customer.name" for to in self.columns.values()):
            return
        whole = [column for column in self._free() if self._folded[column] in NAMES["full"]]
        whole = [column for column in whole if not _most(self.samples[column], _is_email)]
        parts = [column for column in self._free() if self._folded[column] in (*NAMES["first"], *NAMES["last"])]
        for column in whole[:1] or parts:
            self.columns[column] = "customer.name"

    def scores(self) -> None:
        """Columns of numbers by what their names ask; each metric once."""
        for column in self._free():
            cells = self.samples[column]
            if not cells or not _most(cells, _is_number):
                continue
            values = [number(cell) for cell in cells if _is_number(cell)]
            metric = next((metric for metric, asked in ASKED.items() if asked.search(self._folded[column])), None)
            if metric is not None or self._folded[column] in SCORES:
                self.columns[column] = self._score(column, metric, values)
            elif self.form in _CHANNELS and min(values) >= 0 and max(values) <= 10:
                self.columns[column] = UNCLEAR

    def _score(self, column: str, metric: str | None, values: list[float]) -> str:
        if "metric" in self.columns.values() and metric is None:
            return "score"
        if metric is None and self.form == "delighted" and self._delighted_nps():
            metric = "nps"
        if metric is None or metric in self.columns.values():
            return UNCLEAR
        low, high = DEFAULT_SCALES[metric]
        within = sum(low <= value <= high for value in values)
        # There is one scale for nps; for others a value beyond the default one means that another was asked.
        return metric if within * 2 > len(values) and (metric == "nps" or within == len(values)) else UNCLEAR

    def _delighted_nps(self) -> bool:
        kinds = next((self.samples[one] for one, name in self._folded.items() if name == "survey type"), ())
        return all(kind.strip().casefold() == "nps" for kind in kinds)

    def contents(self) -> None:
        """What is left, by what it holds."""
        dates = [one for one in self._free() if _most(self.samples[one], _is_moment)]
        for column in self._free():
            cells = self.samples[column]
            taken = set(self.columns.values())
            if "customer.email" not in taken and _most(cells, _is_email):
                self.columns[column] = "customer.email"
            elif "occurred_at" not in taken and dates == [column] and not BORN.search(self._folded[column]):
                self.columns[column] = "occurred_at"
            elif _is_prose(cells) and (self.form in _CHANNELS or not {"text", "title"} & taken):
                self.columns[column] = "text"


def _most(cells: Sequence[str], check: Callable[[str], bool]) -> bool:
    return bool(cells) and sum(map(check, cells)) >= _MOST * len(cells)


def _is_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True


def _is_email(cell: str) -> bool:
    return bool(_EMAIL.fullmatch(cell.strip()))


def _is_moment(cell: str) -> bool:
    return bool(orders(cell))


def _is_prose(cells: Sequence[str]) -> bool:
    """Sentences: long, of several words, and hardly two alike."""
    if not cells or sum(map(len, cells)) < 15 * len(cells):
        return False
    return len(set(cells)) * 2 > len(cells) and _most(cells, lambda cell: len(cell.split()) > 1)


_CHECKS: dict[str, Callable[[str], bool]] = {
    "occurred_at": _is_moment,
    "customer.email": _is_email,
    "customer.phone": lambda cell: sum(map(str.isdigit, cell)) >= 5,
    "language": lambda cell: bool(re.fullmatch(r"[A-Za-z]{2}([-_].*)?", cell.strip())),
    "url": lambda cell: cell.strip().lower().startswith(("http://", "https://")),
    "id": lambda cell: len(cell) <= 200,
    **dict.fromkeys(
        ("channel", "touchpoint", "department", "product", "segment", "survey.id", "survey.wave", "thread_id"),
        lambda cell: len(cell.strip()) <= 80,
    ),
}
