"""A workspace's teams and members as people write them: one document, by API (JSON or YAML) or from TEAMS_FILE."""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from services.routing import yaml_lines
from services.routing.domain.hours import Hours, Interval
from services.routing.domain.roster import Member, Roster, Sla, Team
from shared.contracts.assignment_changed import Priority
from shared.contracts.envelope import Label, WorkspaceName
from shared.contracts.tags import Issue
from shared.core.errors import Fault, InvalidInput

D = TypeVar("D", bound="TeamDocument")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_INTERVAL = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*[-–]\s*(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("unknown time zone; write an IANA name such as Europe/Istanbul") from None
    return name


def _interval(text: str) -> str:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise ValueError("write an interval as 09:00-17:30 (24:00 is the end of the day)")
    opening, closing = _minutes(text)
    if opening >= closing:
        raise ValueError("an interval ends after it begins; split one that spans midnight over two days")
    return text


def _apart(intervals: tuple[str, ...]) -> tuple[str, ...]:
    spans = sorted(map(_minutes, intervals))
    if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
        raise ValueError("these intervals overlap")
    return intervals


def _minutes(text: str) -> Interval:
    numbers = [int(part) for part in re.findall(r"\d\d", text)]
    return numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,79}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
Open = Annotated[str, AfterValidator(_interval)]
DayOpen = Annotated[tuple[Open, ...], AfterValidator(_apart)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]


class Written(BaseModel):
    """A part of the document: an unknown key is a typing mistake, and said to be one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HoursWritten(Written):
    """Named business hours: intervals per weekday in the wall time of a zone, closed on holidays."""

    time_zone: Annotated[str, AfterValidator(_zone)]
    week: dict[Annotated[str, StringConstraints(pattern=f"^({'|'.join(DAYS)})$")], DayOpen]
    holidays: tuple[date, ...] = ()

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not any(self.week.values()):
            raise ValueError("these hours never open: give at least one day an interval")
        return self

    def hours(self) -> Hours:
        """As the domain has them."""
        week = tuple(tuple(sorted(map(_minutes, self.week.get(day, ())))) for day in DAYS)
        return Hours(self.time_zone, week, frozenset(self.holidays))


class SlaWritten(Written):
    """First-response clock; `hours` names the business hours in which it is spent (leave out for calendar time)."""

    first_response_seconds: dict[Priority, Seconds | None]
    at_risk_share: Annotated[float, Field(gt=0, lt=1)] = 0.8
    hours: Id | None = None


class TeamWritten(Written):
    """A team serves departments; one team is the default for the rest (else the first is)."""

    id: Id
    name: Label | None = None
    departments: tuple[Label, ...] = ()
    default: bool = False


class MemberWritten(Written):
    """A person. `skills` are issues they take (none: all); `capacity` counts unanswered assignments."""

    id: Id
    name: Label
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)] | None = None
    teams: Annotated[tuple[Id, ...], Field(min_length=1)]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    skills: tuple[Issue, ...] = ()
    capacity: Annotated[int, Field(ge=1, le=10_000)] = 8
    hours: Id | None = None


class TeamDocument(Written):
    """The whole: hours, clock, segments (name → priority points), teams, members."""

    hours: dict[Id, HoursWritten] = {}
    sla: SlaWritten | None = None
    segments: dict[Label, Annotated[float, Field(ge=-100, le=100)]] = {}
    teams: Annotated[tuple[TeamWritten, ...], Field(max_length=200)]
    members: Annotated[tuple[MemberWritten, ...], Field(max_length=2000)] = ()

    def faults(self) -> Iterator[tuple[yaml_lines.Path, str]]:
        """What no single part can see: names that do not exist or exist twice."""
        teams = [team.id for team in self.teams]
        yield from _twice("teams", teams)
        yield from _twice("members", [member.id for member in self.members])
        if not teams:
            yield ("teams",), "name at least one team"
        defaults = [index for index, team in enumerate(self.teams) if team.default]
        for index in defaults[1:]:
            yield ("teams", index, "default"), "only one team can be the default"
        if self.sla and self.sla.hours and self.sla.hours not in self.hours:
            yield ("sla", "hours"), _unknown(self.sla.hours, "hours", self.hours)
        for index, member in enumerate(self.members):
            for place, team in enumerate(member.teams):
                if team not in teams:
                    yield ("members", index, "teams", place), _unknown(team, "team", teams)
            if member.hours and member.hours not in self.hours:
                yield ("members", index, "hours"), _unknown(member.hours, "hours", self.hours)
            if member.id == "system":
                yield ("members", index, "id"), "`system` is what closeloop itself is called; choose another id"

    def roster(self, version: int, default_sla: Sla) -> Roster:
        """As the domain has it."""
        hours = {name: written.hours() for name, written in self.hours.items()}
        sla = default_sla
        if self.sla:
            seconds = {**default_sla.first_response_seconds, **self.sla.first_response_seconds}
            sla = Sla(seconds, self.sla.at_risk_share, hours[self.sla.hours] if self.sla.hours else None)
        default = next((team.id for team in self.teams if team.default), self.teams[0].id)
        teams = (Team(t.id, t.name or t.id, frozenset(d.casefold() for d in t.departments)) for t in self.teams)
        return Roster(
            teams=tuple(teams),
            members=tuple(_member(written, hours) for written in self.members),
            default_team=default,
            segments={name.casefold(): points for name, points in self.segments.items()},
            sla=sla,
            version=version,
        )


def _member(written: MemberWritten, hours: Mapping[str, Hours]) -> Member:
    return Member(
        id=written.id,
        name=written.name,
        email=written.email,
        teams=written.teams,
        languages=frozenset(written.languages),
        skills=frozenset(written.skills),
        capacity=written.capacity,
        hours=hours[written.hours] if written.hours else None,
    )


class TeamFile(TeamDocument):
    """The document as a file says which workspace it is for."""

    workspace: WorkspaceName


def from_yaml(text: str) -> TeamDocument:
    """Raises InvalidInput; every fault has its line."""
    value, lines = yaml_lines.load(text)
    return _validated(TeamDocument, value, lines)


def from_json(value: Any) -> TeamDocument:
    """Raises InvalidInput; every fault has its path."""
    return _validated(TeamDocument, value, None)


def from_file(text: str) -> tuple[str, TeamDocument]:
    """(workspace, document) of a TEAMS_FILE. Raises InvalidInput; every fault has its line."""
    value, lines = yaml_lines.load(text)
    found = _validated(TeamFile, value, lines)
    return found.workspace, TeamDocument.model_validate(found.model_dump(exclude={"workspace"}))


def stored(value: Any) -> TeamDocument:
    """A document that was accepted before."""
    return TeamDocument.model_validate(value)


def _validated(kind: type[D], value: Any, lines: yaml_lines.Lines | None) -> D:
    try:
        document = kind.model_validate(value)
        found = list(document.faults())
    except ValidationError as error:
        document = None
        found = [(_path(fault["loc"]), fault["msg"].removeprefix("Value error, ")) for fault in error.errors()]
    if document is not None and not found:
        return document
    faults = [lines.fault(path, why) if lines else Fault(".".join(map(str, path)), why) for path, why in found]
    first = f"{faults[0].path}: {faults[0].reason}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise InvalidInput(f"the team document is refused: {first}{more}", faults=faults)


def _path(place: tuple[str | int, ...]) -> yaml_lines.Path:
    return tuple(part for part in place if part != "[key]")


def _twice(place: str, names: list[str]) -> Iterator[tuple[yaml_lines.Path, str]]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield (place, index, "id"), f"{name} is there twice"


def _unknown(name: str, what: str, known: Any) -> str:
    return f"no {what} is called {name}; there is {', '.join(list(known)[:10]) or 'none'}"
