"""SLA timers fire: at risk, then breached, each once."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from services.routing.domain import priority
from services.routing.domain.assignment import SYSTEM
from services.routing.repository import assignments, crew
from services.routing.repository.assignments import Clock
from services.routing.service.changes import Ledger
from services.routing.service.crew import Rosters
from shared.contracts.assignment_changed import Explanation, Term
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.timers import Timer


class Clocks:
    """Handles the timers of kind `sla`."""

    def __init__(self, rosters: Rosters) -> None:
        self._rosters = rosters

    async def fire(self, timers: Sequence[Timer], uow: UnitOfWork) -> None:
        """A clock that was answered meanwhile is left alone."""
        for workspace in sorted({timer.workspace for timer in timers}):
            stages = {UUID(t.key): str(t.payload["stage"]) for t in timers if t.workspace == workspace}
            await self._fire(uow, workspace, stages)

    async def _fire(self, uow: UnitOfWork, workspace: str, stages: dict[UUID, str]) -> None:
        await crew.lock(uow, workspace)
        ledger = Ledger(workspace, await self._rosters.current(uow, workspace))
        now = await uow.now()
        for row in await assignments.some(uow, workspace, list(stages)):
            if row.clock_due_at is None:
                continue
            if stages[row.id] == "breached":
                if row.breached_at is None:
                    ledger.add(replace(row, breached_at=now), "breached", SYSTEM, now)
                continue
            if row.at_risk_at is None:
                terms = (*row.priority_terms, Term(name="sla_risk", value=priority.SLA_RISK_POINTS))
                after = replace(
                    row, at_risk_at=now, priority_terms=terms, priority=priority.level(priority.total(terms))
                )
                why = Explanation(chosen_because="nobody has answered yet and the time is short", priority_terms=terms)
                ledger.add(after, "at_risk", SYSTEM, now, explanation=why)
            ledger.clocks.append(Clock(workspace, row.id, "breached", row.clock_due_at))
        await ledger.settle(uow)
