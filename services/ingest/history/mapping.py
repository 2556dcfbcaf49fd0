"""Which column becomes which field, and the item of a row by it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.ingest.decoding import clean_text, invalid
from services.ingest.history.values import Order, moment, number
from services.ingest.sources.base import place
from services.ingest.sources.mapping import as_field
from services.ingest.sources.targets import Steps, target
from shared.core.errors import Fault, InvalidInput

Form = Literal["ndjson", "csv", "delighted", "surveymonkey", "typeform"]
# Stands for a column of scores of which nobody knows yet what they measure.
UNCLEAR = "?"
_RATED = re.compile(r"(nps|csat|ces|rating)(?:\s+(-?\d+(?:\.\d+)?)\s*[-–]\s*(\d+(?:\.\d+)?))?")
# Several columns may go into these: one after the other, and with the column's name above each.
_JOINED: dict[Any, str] = {("customer", "name"): " ", ("text",): "\n\n"}
_UTC_COLUMN = re.compile(r"\(utc\)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rated:
    """A column of numbers on a scale; without one the metric's default scale."""

    metric: str
    low: float | None = None
    high: float | None = None

    def rating(self, value: float) -> dict[str, Any]:
        """In the form of FeedbackIn."""
        given = {"metric": self.metric, "value": value, "scale_min": self.low, "scale_max": self.high}
        return {name: one for name, one in given.items() if one is not None}


def meaning(text: str) -> Steps | Rated:
    """What a column is for: a field's name, or `nps`, `csat`, `csat 1-10`. Raises ValueError."""
    if match := _RATED.fullmatch(text.strip()):
        metric, low, high = match.groups()
        return Rated(metric, float(low) if low else None, float(high) if high else None)
    return target(text.strip())


class ColumnMapping(BaseModel):
    """Columns → fields (an empty one is left out), fixed values, and how dates and ids are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    columns: dict[str, str]
    constants: dict[str, str] = Field(default_factory=dict, alias="set")
    dates: Order | None = None
    zone: str = "UTC"
    id_prefix: str = ""

    def targets(self) -> set[str]:
        """Names of the fields that have a column or a fixed value."""
        return {to for to in self.columns.values() if to} | set(self.constants)

    def rated(self) -> bool:
        """Whether rows give numbers on a scale."""
        return any(to == "score" or to == UNCLEAR or to.startswith("ratings.") or _RATED.fullmatch(to)
                   for to in self.targets())  # fmt: skip

    def faults(self) -> list[Fault]:
        """What is wrong with it, by column or field."""
        found = [Fault("set", reason) for name in self.constants if (reason := _no_field(name))]
        seen: dict[Any, str] = {}
        for column, to in self.columns.items():
            if to == UNCLEAR:
                found.append(Fault(column, _say_metric(column)))
            elif to and (reason := _no_meaning(to)):
                found.append(Fault(column, reason))
            elif to:
                key = meaning(to)
                if key in seen and key not in _JOINED:
                    found.append(Fault(column, f"is {to}, as {seen[key]!r} is; leave one out: --map {column + '='!r}"))
                seen[key] = column
        unmeasured = None if "metric" in self.targets() else seen.get(("score",))
        if unmeasured is not None:
            found.append(Fault(unmeasured, _say_metric(unmeasured)))
        try:
            zone_of(self.zone)
        except ValueError as error:
            found.append(Fault("zone", str(error)))
        return found


def corrected(
    mapping: ColumnMapping,
    there: Sequence[str],
    columns: Sequence[str],
    constants: Sequence[str],
    *,
    open_ended: bool,
    **changes: str | None,
) -> ColumnMapping:
    """The mapping with `Column=field` and `field=value` in place, for a file with the columns `there`; with
    `open_ended` (NDJSON) there may be others. Raises InvalidInput where it does not fit the file."""
    to, fixed, faults = dict(mapping.columns), dict(mapping.constants), []
    for text in columns:
        name, equals, field = text.rpartition("=")
        if not equals or (name not in there and not open_ended):
            shown = ", ".join(map(repr, there))[:2_000]
            faults.append(Fault(f"--map {text!r}", f'is not "Column=field" with one of the columns {shown}'))
        to[name] = field.strip()
    for text in constants:
        name, _, value = text.partition("=")
        fixed[name.strip()] = value.strip()
    faults += [
        Fault(column, f'is not in the mapping; add --map "{column}=field", or "{column}=" to leave it out')
        for column in there
        if column not in to
    ]
    faults += [
        Fault(column, "is in the mapping, but the file has no such column")
        for column, field in mapping.columns.items()
        if field and column not in there and not open_ended
    ]
    if faults:
        raise InvalidInput("the mapping does not fit the file; nothing was sent", faults=faults)
    update: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    update |= {"columns": to, "constants": {name: value for name, value in fixed.items() if value}}
    return mapping.model_copy(update=update)


def zone_of(name: str) -> tzinfo:
    """A time zone. Raises ValueError."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write it as Europe/Istanbul") from None


def _say_metric(column: str) -> str:
    return (
        f'holds scores; say of what: --map "{column}=nps" (0–10), "{column}=csat" (1–5), "{column}=ces" (1–7), '
        f'another scale as "{column}=csat 1-10", or leave it out: "{column}="'
    )


def _no_field(name: str) -> str | None:
    try:
        target(name)
    except ValueError as error:
        return str(error)
    return None


def _no_meaning(text: str) -> str | None:
    try:
        meaning(text)
    except ValueError as error:
        return f"{error}; or nps, csat, ces, csat 1-10"
    return None


class Converter:
    """Rows to items in the form of FeedbackIn, by a mapping without faults."""

    def __init__(self, mapping: ColumnMapping) -> None:
        self._zone = zone_of(mapping.zone)
        self._dates = mapping.dates or "ymd"
        self._prefix = mapping.id_prefix
        self._columns: dict[str, Steps | Rated | None] = {
            column: meaning(to) if to else None for column, to in mapping.columns.items()
        }
        self._joined: dict[str, Steps] = {
            column: to
            for column, to in self._columns.items()
            if isinstance(to, tuple) and to in _JOINED and list(self._columns.values()).count(to) > 1
        }
        self._constants = [(target(name), text) for name, text in mapping.constants.items()]
        self._id = next((column for column, to in self._columns.items() if to == ("id",)), None)
        self._dated = [column for column, to in self._columns.items() if to == ("occurred_at",)]

    def own_id(self, cells: Mapping[str, Any]) -> bool:
        """Whether a row names itself."""
        return cells.get(self._id or "id") not in (None, "")

    def item(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The item. Raises InvalidInput, whose faults name columns."""
        item: dict[str, Any] = {}
        ratings: list[dict[str, Any]] = []
        faults: list[Fault] = []
        for column, cell in cells.items():
            try:
                self._take(item, ratings, column, cell)
            except ValueError as error:
                faults.append(Fault(column, str(error)))
        faults += [Fault(column, "is empty: when was it said?") for column in self._dated if not cells.get(column)]
        try:
            self._fill(item)
        except ValueError as error:
            faults.append(Fault("set", str(error)))
        if ratings:
            item["ratings"] = [*item.get("ratings", []), *ratings]
        if faults:
            raise invalid(faults)
        return item

    def column_of(self, cells: Mapping[str, Any], path: str) -> str:
        """The column that gave what stands at `path` of a row's item, else the path."""
        steps = tuple(
            int(step) if step.isdecimal() else step for step in path.replace("[", ".").replace("]", "").split(".")
        )
        for column, to in self._columns.items():
            if to == steps:
                return column
        rated = [
            column
            for column, cell in cells.items()
            if isinstance(self._columns.get(column), Rated) and str(cell).strip()
        ]
        if steps[0] == "ratings" and len(steps) == 3 and isinstance(steps[1], int) and steps[1] < len(rated):
            return rated[steps[1]]
        return path

    def _take(self, item: dict[str, Any], ratings: list[dict[str, Any]], column: str, cell: Any) -> None:
        value = clean_text(cell).strip() if isinstance(cell, str) else cell
        if value is None or value == "":
            return
        to = self._columns[column] if column in self._columns else self._unseen(column)
        if isinstance(to, Rated):
            ratings.append(to.rating(_score(value)))
        elif column in self._joined:
            self._join(item, column, str(value))
        elif to is not None:
            place(item, to, self._read(to, column, value))

    def _unseen(self, column: str) -> Steps:
        """A key that the first lines of an NDJSON file did not have."""
        try:
            return target(column)
        except ValueError:
            raise ValueError(
                f'is not in the mapping; add --map "{column}=field", or "{column}=" to leave it out'
            ) from None

    def _read(self, to: Steps, column: str, value: Any) -> Any:
        if to == ("occurred_at",) and isinstance(value, str):
            return moment(value, self._dates, UTC if _UTC_COLUMN.search(column) else self._zone)
        if to == ("score",) or (to[0] == "ratings" and to[-1] == "value"):
            return _score(value)
        if to == ("id",):
            return f"{self._prefix}{value}"
        return as_field(to, value)

    def _join(self, item: dict[str, Any], column: str, text: str) -> None:
        to = self._joined[column]
        *outer, name = map(str, to)
        inner = item.setdefault(outer[0], {}) if outer else item
        said = f"{column}\n{text}" if name == "text" else text
        inner[name] = f"{inner[name]}{_JOINED[to]}{said}" if name in inner else said

    def _fill(self, item: dict[str, Any]) -> None:
        """Fixed values, where the row has none of its own; what is said of a score only where there is one."""
        for steps, text in self._constants:
            inner: Any = item
            for step in steps[:-1]:
                inner = inner.get(step) if isinstance(inner, dict) else inner
            own = isinstance(inner, dict) and steps[-1] in inner
            alone = (steps == ("metric",) and "score" not in item) or (steps[0] == "ratings" and "ratings" not in item)
            if not own and not alone:
                place(item, steps, moment(text, self._dates, self._zone) if steps == ("occurred_at",) else text)


def _score(value: Any) -> Any:
    return number(value) if isinstance(value, str) else value


def mapping_of(document: object) -> ColumnMapping:
    """A saved mapping. Raises InvalidInput."""
    try:
        return ColumnMapping.model_validate(document)
    except ValidationError as error:
        faults = [Fault(".".join(map(str, one["loc"])) or "$", one["msg"]) for one in error.errors()]
        raise InvalidInput("This is no mapping; --save-mapping writes one.", faults=faults) from None
