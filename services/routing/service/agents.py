"""What people do with an assignment: take, answer, hand over, resolve, reopen. Repeating an action changes nothing."""

from dataclasses import dataclass, replace
from uuid import UUID

from services.routing.domain.assignment import OPEN, Assignment
from services.routing.domain.roster import Member, Roster
from services.routing.domain.selection import Choice, Desk, choose
from services.routing.repository import assignments, crew
from services.routing.service.changes import Ledger, resolved, start_clock, stop_clock
from services.routing.service.crew import Rosters
from services.routing.service.waiting import Rules, drain, want_of
from shared.contracts.assignment_changed import Explanation
from shared.core.clock import rfc3339
from shared.core.errors import Conflict, Fault, InvalidInput, NotFound
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `member` is given or the key's own name; a `manager` may act on what others hold."""

    workspace: str
    key_name: str
    manager: bool
    member: str | None = None


@dataclass(slots=True)
class _Work:
    """One assignment, locked, with what is needed to change it."""

    uow: UnitOfWork
    current: Assignment
    roster: Roster
    desk: Desk
    ledger: Ledger
    actor: Actor

    def member(self) -> Member:
        """The acting member. Raises InvalidInput when nobody is meant."""
        name = self.actor.member or self.actor.key_name
        found = self.roster.member(name)
        if found is None:
            raise InvalidInput(
                f"no member is called {name}; name one in `member`, or use a key that is called like a member",
                faults=[Fault("member", "not a member of this workspace")],
            )
        return found

    def name(self) -> str:
        """The actor as events name it: the member, else the key."""
        if self.actor.member is not None:
            return self.member().id
        return self.actor.key_name.strip()[:80] or "key"

    def theirs(self) -> str:
        """The actor's name. Raises Conflict unless they hold it, or are a manager."""
        name = self.name()
        if name == self.current.member_id or self.actor.manager:
            return name
        raise Conflict(
            f"{self.current.member_id} has it; take it over with them, or ask a manager to hand it over"
            if self.current.member_id
            else "nobody has it yet; take it first"
        )

    def check(self, sequence: int | None) -> None:
        """Raise Conflict when the caller saw an older state."""
        if sequence is not None and sequence != self.current.sequence:
            raise Conflict(
                f"it has changed: its sequence is {self.current.sequence}, you saw {sequence}; read it again"
            )


class Agents:
    """Use cases of the agents' API. All raise NotFound for an unknown id, Conflict for the wrong state."""

    def __init__(self, database: Database, rosters: Rosters, rules: Rules) -> None:
        self._database = database
        self._rosters = rosters
        self._rules = rules

    async def take(self, actor: Actor, identifier: UUID, *, sequence: int | None = None) -> None:
        """Begin to work on something that is queued, or assigned and not begun. Of two who take it, one wins."""
        async with self._database.unit_of_work(actor.workspace) as uow:
            work = await self._open(uow, actor, identifier)
            current, member = work.current, work.member()
            if current.state == "taken" and current.member_id == member.id:
                return
            if current.state not in ("queued", "assigned"):
                holder = f" by {current.member_id}" if current.member_id else ""
                raise Conflict(f"it is {current.state}{holder}; only what is queued or assigned can be taken")
            work.check(sequence)
            team = current.team if current.team in member.teams else member.teams[0]
            after = replace(
                current,
                state="taken",
                member_id=member.id,
                team=team,
                queued_at=None,
                declined_by=(),
                assigned_at=current.assigned_at if current.member_id == member.id else work.desk.now,
            )
            why = Explanation(chosen_because="took it", priority_terms=current.priority_terms)
            work.ledger.add(after, "taken", member.id, work.desk.now, explanation=why)
            await work.ledger.settle(uow)
            if current.member_id not in (None, member.id):
                await self._freed(work)

    async def answer(
        self, actor: Actor, identifier: UUID, *, note: str | None = None, sequence: int | None = None
    ) -> None:
        """The customer was answered: stops the first-response clock. The reply itself is sent where the talk is."""
        async with self._database.unit_of_work(actor.workspace) as uow:
            await assignments.cancel(uow, actor.workspace, [identifier])
            work = await self._open(uow, actor, identifier)
            current = work.current
            if current.state == "answered" and current.member_id == work.name():
                return
            if current.state not in ("assigned", "taken"):
                raise Conflict(_unanswerable(current))
            by = work.theirs()
            work.check(sequence)
            first = current.first_response_at or work.desk.now
            after = replace(
                stop_clock(current),
                state="answered",
                first_response_at=first,
                first_response_seconds=max(0.0, (first - current.opened_at).total_seconds()),
            )
            work.ledger.add(after, "answered", by, work.desk.now, note=note)
            await self._freed(work)

    async def hand_over(
        self,
        actor: Actor,
        identifier: UUID,
        *,
        reason: str,
        to_member: str | None = None,
        to_team: str | None = None,
        sequence: int | None = None,
    ) -> None:
        """Give it to a member, to a team's least loaded member, or (neither named) to whoever fits best."""
        async with self._database.unit_of_work(actor.workspace) as uow:
            work = await self._open(uow, actor, identifier)
            current = work.current
            if to_member is not None and current.member_id == to_member and current.state == "assigned":
                return
            if not current.is_open:
                raise Conflict("it is resolved; reopen it first")
            by = work.name() if current.state == "queued" else work.theirs()
            work.check(sequence)
            if to_member is not None:
                current = replace(current, declined_by=())
                choice = _to_member(work, to_member)
            else:
                current = replace(current, declined_by=_declined(current))
                choice = _to_team(work, current, to_team, self._rules)
            if choice.member is not None and choice.member.id == current.member_id and current.state == "assigned":
                return
            work.ledger.place(current, choice, "handed_over", work.desk, actor=by, note=reason)
            await self._freed(work)

    async def resolve(
        self,
        actor: Actor,
        identifier: UUID,
        *,
        cause: str,
        action: str,
        note: str | None = None,
        sequence: int | None = None,
    ) -> None:
        """Close it with cause and action, from any open state."""
        async with self._database.unit_of_work(actor.workspace) as uow:
            await assignments.cancel(uow, actor.workspace, [identifier])
            work = await self._open(uow, actor, identifier)
            current = work.current
            if not current.is_open:
                if (current.cause, current.action) == (cause, action):
                    return
                raise Conflict(f"it was resolved by {current.resolved_by}: {current.cause}, {current.action}")
            by = work.name() if current.state == "queued" else work.theirs()
            work.check(sequence)
            if current.member_id and current.state in ("assigned", "taken"):
                work.desk.release(current.member_id)
            work.ledger.add(
                resolved(current, by, work.desk.now, cause, action), "resolved", by, work.desk.now, note=note
            )
            await self._freed(work)

    async def reopen(self, actor: Actor, identifier: UUID, *, reason: str, sequence: int | None = None) -> None:
        """Open a resolved one again; its last member gets it if they can take it. The clock starts again only where
        the customer was never answered."""
        async with self._database.unit_of_work(actor.workspace) as uow:
            work = await self._open(uow, actor, identifier)
            current, now = work.current, work.desk.now
            if current.state in OPEN:
                raise Conflict(f"it is open: {current.state}")
            work.check(sequence)
            again = replace(
                current, state="queued", member_id=None, resolved_at=None, resolved_by=None, cause=None, action=None
            )
            if again.first_response_at is None:
                again, clock = start_clock(replace(again, opened_at=now), work.roster, now)
                work.ledger.clocks += [clock] if clock else []
            last = (current.member_id, now) if current.member_id else None
            want = want_of(again, work.roster, last_agent=last)
            choice = choose(work.roster, work.desk, want, again.priority_terms, sticky_seconds=1)
            work.ledger.place(again, choice, "reopened", work.desk, actor=work.name(), note=reason)
            await work.ledger.settle(uow)

    async def _open(self, uow: UnitOfWork, actor: Actor, identifier: UUID) -> _Work:
        await crew.lock(uow, actor.workspace)
        current = await assignments.one(uow, actor.workspace, identifier)
        if current is None:
            raise NotFound("no such assignment")
        roster = await self._rosters.current(uow, actor.workspace)
        desk = await crew.desk(uow, actor.workspace)
        return _Work(uow, current, roster, desk, Ledger(actor.workspace, roster), actor)

    async def _freed(self, work: _Work) -> None:
        """Write; then what waits may go to whoever has room now."""
        await work.ledger.settle(work.uow)
        desk = await crew.desk(work.uow, work.actor.workspace)
        await drain(work.uow, work.ledger, desk, self._rules)


def _unanswerable(current: Assignment) -> str:
    if current.state == "queued":
        return "nobody has it yet; take it first"
    if current.state == "answered":
        return f"{current.member_id} has answered it already"
    return "it is resolved; reopen it first"


def _to_member(work: _Work, member_id: str) -> Choice:
    member = work.roster.member(member_id)
    if member is None:
        raise InvalidInput(f"no member is called {member_id}", faults=[Fault("to_member", "not a member")])
    presence = work.desk.presence.get(member_id)
    if presence and presence.away_at(work.desk.now):
        until = f" until {rfc3339(presence.until)}" if presence.until else ""
        raise Conflict(f"{member_id} is away{until}; it would be stranded there")
    team = work.current.team if work.current.team in member.teams else member.teams[0]
    terms = work.current.priority_terms
    why = Explanation(eligible=(member.id,), chosen_because="chosen by a person", priority_terms=terms)
    return Choice(member, team, why)


def _declined(current: Assignment) -> tuple[str, ...]:
    """Who held it is not given it back at once."""
    if current.member_id is None or current.member_id in current.declined_by:
        return current.declined_by
    return (*current.declined_by, current.member_id)


def _to_team(work: _Work, current: Assignment, team_id: str | None, rules: Rules) -> Choice:
    if team_id is not None and work.roster.team(team_id) is None:
        raise InvalidInput(f"no team is called {team_id}", faults=[Fault("to_team", "not a team")])
    want = want_of(current, work.roster, teams=(team_id,) if team_id else ())
    return choose(work.roster, work.desk, want, current.priority_terms, sticky_seconds=rules.sticky_seconds)
