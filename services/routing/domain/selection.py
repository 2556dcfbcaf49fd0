"""Who gets it: the least loaded eligible member, and the words that explain it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.routing.domain.hours import NeverOpen, is_open, next_open
from services.routing.domain.roster import Member, Roster
from shared.contracts.assignment_changed import Explanation, Removed, Term
from shared.core.clock import rfc3339

# An explanation names this many removed members; a larger crew would make events of many kilobytes.
EXPLAINED_MEMBERS = 100
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Presence:
    """A member is away from when they say so until `until` (None: until they are back)."""

    away: bool
    until: datetime | None = None

    def away_at(self, moment: datetime) -> bool:
        """Is the member away at `moment`?"""
        return self.away and (self.until is None or moment < self.until)


@dataclass(slots=True)
class Desk:
    """How busy the members are at one moment; `place` keeps it true while a batch is given out."""

    now: datetime
    open: dict[str, int] = field(default_factory=dict)
    presence: dict[str, Presence] = field(default_factory=dict)
    last_assigned: dict[str, datetime] = field(default_factory=dict)
    _off: dict[str, str | None] = field(default_factory=dict)

    def off(self, member: Member) -> str | None:
        """Why the member takes nothing new now (away, outside hours); None when they do."""
        if member.id not in self._off:
            self._off[member.id] = self._why_off(member)
        return self._off[member.id]

    def _why_off(self, member: Member) -> str | None:
        presence = self.presence.get(member.id)
        if presence and presence.away_at(self.now):
            return f"away until {rfc3339(presence.until)}" if presence.until else "away"
        if member.hours is None or is_open(member.hours, self.now):
            return None
        try:
            return f"outside business hours until {rfc3339(next_open(member.hours, self.now))}"
        except NeverOpen:
            return "outside business hours"

    def load(self, member: Member) -> int:
        """Unanswered assignments they hold."""
        return self.open.get(member.id, 0)

    def place(self, member_id: str) -> None:
        """One more for this member."""
        self.open[member_id] = self.open.get(member_id, 0) + 1
        self.last_assigned[member_id] = self.now

    def release(self, member_id: str) -> None:
        """One less."""
        self.open[member_id] = max(0, self.open.get(member_id, 0) - 1)


@dataclass(frozen=True, slots=True)
class Want:
    """What an assignment asks of whoever takes it."""

    teams: tuple[str, ...]
    language: str
    issues: tuple[str, ...] = ()
    last_agent: tuple[str, datetime] | None = None
    without: frozenset[str] = frozenset()
    relaxed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen member, or None and the team in whose queue it waits; and why."""

    member: Member | None
    team: str | None
    explanation: Explanation


def choose(roster: Roster, desk: Desk, want: Want, terms: Sequence[Term] = (), *, sticky_seconds: float = 0) -> Choice:
    """The last agent of the customer while that is fresh, else the least loaded of the eligible members."""
    teams = widened(roster, want)
    any_language = want.language == "und" or not roster.speaks(want.language)
    eligible: list[Member] = []
    removed: list[Removed] = []
    for member in roster.members:
        reason = _removed_because(member, desk, want, teams, any_language)
        if reason is None:
            eligible.append(member)
        else:
            removed.append(Removed(member_id=member.id, reason=reason))
    eligible.sort(key=lambda member: _rank(member, desk))
    chosen, because = _pick(eligible, desk, want, sticky_seconds)
    team = _team_of(roster, teams, chosen, want.language)
    if chosen is None:
        because = f"nobody is eligible: it waits in the queue of {team}" if team else "no team: it waits unassigned"
    explanation = Explanation(
        eligible=tuple(member.id for member in eligible),
        removed=tuple(removed[:EXPLAINED_MEMBERS]),
        chosen_because=because + _more(len(removed) - EXPLAINED_MEMBERS),
        priority_terms=tuple(terms),
    )
    return Choice(chosen, team, explanation)


def widened(roster: Roster, want: Want) -> tuple[str, ...]:
    """The teams that are looked at: after a long wait the default team helps out."""
    if want.relaxed and roster.default_team and roster.default_team not in want.teams:
        return (*want.teams, roster.default_team)
    return want.teams


def _removed_because(member: Member, desk: Desk, want: Want, teams: tuple[str, ...], any_language: bool) -> str | None:
    if not set(teams) & set(member.teams):
        return f"not in {' or '.join(teams)}" if teams else "no team serves it"
    if member.id in want.without:
        return "it is handed over from them"
    if not any_language and want.language not in member.languages:
        return f"does not speak {want.language}"
    if want.issues and member.skills and not want.relaxed and not member.skills & set(want.issues):
        return f"not skilled in {', '.join(want.issues)}"
    if reason := desk.off(member):
        return reason
    if desk.load(member) >= member.capacity:
        return f"at capacity: {desk.load(member)} of {member.capacity}"
    return None


def _rank(member: Member, desk: Desk) -> tuple[int, float, datetime, str]:
    """Fewest open; of equals the emptier relative to capacity, then who waited longest for work."""
    load = desk.load(member)
    return load, load / member.capacity, desk.last_assigned.get(member.id, _NEVER), member.id


def _pick(eligible: list[Member], desk: Desk, want: Want, sticky_seconds: float) -> tuple[Member | None, str]:
    if not eligible:
        return None, ""
    if want.last_agent is not None:
        agent, since = want.last_agent
        if desk.now - since <= timedelta(seconds=sticky_seconds):
            for member in eligible:
                if member.id == agent:
                    return member, "knows this customer: was their last agent"
    first = eligible[0]
    if len(eligible) == 1:
        return first, f"the only eligible member: {desk.load(first)} of {first.capacity} open"
    second = desk.load(eligible[1])
    if desk.load(first) == second:
        return first, f"{second} open like others; longest without new work"
    return first, f"fewest open: {desk.load(first)} against {second}"


def _team_of(roster: Roster, teams: tuple[str, ...], chosen: Member | None, language: str) -> str | None:
    """The team it stands in: one of the chosen member's, else one that speaks the language, else the first."""
    if chosen is not None:
        return next((team for team in teams if team in chosen.teams), None)
    speaking = {team for member in roster.members if language in member.languages for team in member.teams}
    return next((team for team in teams if team in speaking), teams[0] if teams else None)


def _more(count: int) -> str:
    return f" ({count} more members were not eligible)" if count > 0 else ""
