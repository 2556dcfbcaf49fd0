"""What waits: choosing for it, draining the queue, and taking work from those who went away."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.routing.domain import priority
from services.routing.domain.assignment import Assignment
from services.routing.domain.roster import Roster
from services.routing.domain.selection import Choice, Desk, Want, choose
from services.routing.repository import assignments, crew
from services.routing.service.changes import Ledger
from shared.contracts.assignment_changed import AssignmentState
from shared.db.unit_of_work import UnitOfWork

# One drain gives out at most this much at a time, so that a long queue does not make a long transaction.
_DRAIN = 500


@dataclass(frozen=True, slots=True)
class Rules:
    """The waits that change a choice."""

    sticky_seconds: float
    relax_after_seconds: float

    def relaxed(self, since: datetime | None, now: datetime) -> bool:
        """Has it waited so long in the queue that skills no longer count?"""
        return since is not None and now - since >= timedelta(seconds=self.relax_after_seconds)


def want_of(
    current: Assignment,
    roster: Roster,
    *,
    teams: tuple[str, ...] = (),
    last_agent: tuple[str, datetime] | None = None,
    without: frozenset[str] = frozenset(),
    relaxed: bool = False,
) -> Want:
    """What an assignment asks for. `teams` overrides those of its department."""
    return Want(
        teams=teams or _teams(current.team, current.department, current.tagged_department, roster),
        language=current.language,
        issues=current.issues,
        last_agent=last_agent,
        without=without if relaxed else without | frozenset(current.declined_by),
        relaxed=relaxed,
    )


def _teams(team: str | None, department: str | None, tagged: str, roster: Roster) -> tuple[str, ...]:
    """The teams of its department; a team that it was handed to stays its only one."""
    found = roster.teams_for(department, tagged)
    return found if team is None or team in found or roster.team(team) is None else (team,)


async def drain(uow: UnitOfWork, ledger: Ledger, desk: Desk, rules: Rules) -> None:
    """Give out everything that somebody can take now: priority, then waiting time."""
    given = 0
    while given < _DRAIN and (count := await _drain_once(uow, ledger, desk, rules, _DRAIN - given)):
        given += count


async def _drain_once(uow: UnitOfWork, ledger: Ledger, desk: Desk, rules: Rules, limit: int) -> int:
    kinds = await assignments.queue_kinds(uow, ledger.workspace)
    takeable = [kind for kind in kinds if _somebody(kind, ledger.roster, desk, rules)]
    if not takeable:
        return 0
    rows = await assignments.queued(uow, ledger.workspace, takeable, limit)
    customers = [row.customer_id for row in rows if row.customer_id]
    agents = await crew.last_agents(uow, ledger.workspace, customers)
    given = 0
    for row in rows:
        choice = chosen(
            row, ledger.roster, desk, rules, last_agent=agents.get(row.customer_id) if row.customer_id else None
        )
        if choice.member is not None:
            ledger.place(row, choice, "assigned", desk)
            given += 1
    await ledger.settle(uow)
    return given


def chosen(
    row: Assignment, roster: Roster, desk: Desk, rules: Rules, *, last_agent: tuple[str, datetime] | None = None
) -> Choice:
    """The choice for something that waits; its wait is one of the terms."""
    waited = max(0.0, (desk.now - row.opened_at).total_seconds())
    terms = (*row.priority_terms, priority.waiting_term(waited))
    want = want_of(row, roster, last_agent=last_agent, relaxed=rules.relaxed(row.queued_at, desk.now))
    return choose(roster, desk, want, terms, sticky_seconds=rules.sticky_seconds)


def _somebody(kind: Any, roster: Roster, desk: Desk, rules: Rules) -> bool:
    relaxed = rules.relaxed(kind.oldest, desk.now)
    want = Want(
        teams=_teams(kind.team, kind.department, kind.tagged_department, roster),
        language=kind.language,
        issues=tuple(kind.issues),
        without=frozenset() if relaxed else frozenset(kind.declined_by),
        relaxed=relaxed,
    )
    return choose(roster, desk, want).member is not None


async def rescue(
    uow: UnitOfWork, ledger: Ledger, desk: Desk, rules: Rules, *, also_taken_of: str | None = None
) -> None:
    """Hand over what members hold who cannot work on it now.

    Away, or no longer in the document: untaken work goes to others or back to the queue (with all of theirs when they
    are gone for good). Outside their hours: it goes only where somebody else can take it, else it waits with them.
    """
    for member_id in await assignments.holders(uow, ledger.workspace):
        member = ledger.roster.member(member_id)
        presence = desk.presence.get(member_id)
        gone = member is None
        away = gone or (presence is not None and presence.away_at(desk.now))
        if member is not None and desk.off(member) is None:
            continue
        states: tuple[AssignmentState, ...] = ("assigned",)
        if gone or member_id == also_taken_of:
            states = ("assigned", "taken")
        for row in await assignments.held_by(uow, ledger.workspace, [member_id], states):
            want = want_of(row, ledger.roster, without=frozenset({member_id}))
            choice = choose(ledger.roster, desk, want, row.priority_terms)
            if choice.member is not None or away:
                ledger.place(row, choice, "handed_over", desk)
    await ledger.settle(uow)
