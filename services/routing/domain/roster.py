"""Who may work on what: teams, members, their hours, and the clock policy of a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.routing.domain.hours import Hours, due_at
from shared.contracts.assignment_changed import Priority


@dataclass(frozen=True, slots=True)
class Team:
    """Members who serve the same departments (casefolded names)."""

    id: str
    name: str
    departments: frozenset[str]


@dataclass(frozen=True, slots=True)
class Member:
    """One person. Empty `skills` means every issue; `capacity` is how many unanswered assignments they hold."""

    id: str
    name: str
    email: str | None
    teams: tuple[str, ...]
    languages: frozenset[str]
    skills: frozenset[str]
    capacity: int
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Sla:
    """Seconds to the first response by priority (None: no SLA), spent in `hours` only where given."""

    first_response_seconds: Mapping[Priority, float | None]
    at_risk_share: float = 0.8
    hours: Hours | None = None

    def clock(self, priority: Priority, opened_at: datetime) -> tuple[datetime, datetime] | None:
        """(at risk, due) of an assignment opened at `opened_at`; None without SLA."""
        seconds = self.first_response_seconds.get(priority)
        if seconds is None:
            return None
        return self._after(opened_at, seconds * self.at_risk_share), self._after(opened_at, seconds)

    def _after(self, start: datetime, seconds: float) -> datetime:
        return start + timedelta(seconds=seconds) if self.hours is None else due_at(self.hours, start, seconds)


@dataclass(frozen=True, slots=True)
class Roster:
    """A workspace's teams and members as they stand. `default_team` takes what no team's departments name."""

    teams: tuple[Team, ...] = ()
    members: tuple[Member, ...] = ()
    default_team: str | None = None
    segments: Mapping[str, float] = field(default_factory=dict)
    sla: Sla | None = None
    version: int = 0

    def member(self, member_id: str) -> Member | None:
        """The member with this id."""
        return next((member for member in self.members if member.id == member_id), None)

    def team(self, team_id: str) -> Team | None:
        """The team with this id."""
        return next((team for team in self.teams if team.id == team_id), None)

    def teams_for(self, *departments: str | None) -> tuple[str, ...]:
        """Teams of the first of `departments` that any team serves; else the default team."""
        for department in departments:
            found = tuple(team.id for team in self.teams if department and department.casefold() in team.departments)
            if found:
                return found
        return (self.default_team,) if self.default_team else ()

    def speaks(self, language: str) -> bool:
        """True when anybody speaks it."""
        return any(language in member.languages for member in self.members)
