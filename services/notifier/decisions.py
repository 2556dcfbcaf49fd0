"""Decide: may a follow-up that is due be sent? One transaction looks at everything, and writes the answer down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.notifier import changes, domain
from services.notifier.addresses import Addresses, plain_email
from services.notifier.config import NotifierSettings
from services.notifier.repository import choices, followups, knowledge
from shared.db.unit_of_work import UnitOfWork
from shared.telemetry import metrics

# Events of one feedback come by several topics: a step that is due before its feedback is known waits this long.
_UNKNOWN_WAIT_SECONDS = 1.0
_UNKNOWN_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A row in `sending` that is ours until its lease ends, with the facts its message needs."""

    row: Any
    facts: Any


class Decider:
    """Claims due rows for one worker."""

    def __init__(self, settings: NotifierSettings, addresses: Addresses) -> None:
        self._settings = settings
        self._addresses = addresses

    async def claim(self, uow: UnitOfWork, limit: int) -> tuple[list[Claim], bool]:
        """Claims, and whether anything was due at all. Cancelled and suppressed rows are settled on the way."""
        settings = self._settings
        due = await followups.lock_due(uow, limit=limit, per_endpoint=settings.delivery_per_endpoint)
        if not due:
            return [], False
        facts = await knowledge.facts(uow, [(row.workspace, row.id) for row in due])
        disabled = await choices.disabled(uow, sorted({row.workspace for row in due}))
        emails = {
            (row.workspace, email)
            for row in due
            if row.audience == "customer" and (email := plain_email(facts[row.workspace, row.id].email))
        }
        governor = _Governor(
            await knowledge.people(uow, emails, settings.contact_period_seconds),
            settings.contact_limit,
            settings.contact_period_seconds,
        )
        verdicts: list[dict[str, Any]] = []
        for row in due:
            metrics.TIMERS_LATE.labels("notifier", "followup").observe(max(0.0, row.late_seconds))
            known = facts[row.workspace, row.id]
            if self._waits(row, known):
                await followups.postpone(uow, row.workspace, row.id, _UNKNOWN_WAIT_SECONDS)
            else:
                verdicts.append(self._verdict(row, known, governor, disabled))
        changed = await followups.decide(uow, verdicts, lease_seconds=settings.delivery_lease_seconds)
        changes.publish(uow, changed)
        claims = [Claim(row, facts[row.workspace, row.id]) for row in changed if row.state == "sending"]
        return claims, True

    def _waits(self, row: Any, known: Any) -> bool:
        return row.audience == "customer" and not known.known and row.overdue_seconds < _UNKNOWN_LIMIT_SECONDS

    def _verdict(
        self, row: Any, known: Any, governor: "_Governor", disabled: dict[tuple[str, str], str]
    ) -> dict[str, Any]:
        recipient = self._recipient(row, known)
        verdict = {
            "workspace": row.workspace,
            "id": str(row.id),
            "state": "sending",
            "reason": None,
            "recipient": recipient,
            "language": self._language(row, known),
            "customer_id": str(known.customer_id) if known.customer_id else None,
            "assignment_id": str(known.assignment_id) if known.assignment_id else None,
        }
        if reason := _cancelled(row, known, governor.unsubscribed(row.workspace, recipient)):
            verdict |= {"state": "cancelled", "reason": reason}
        elif reason := self._suppressed(row, known, recipient, governor, disabled):
            verdict |= {"state": "suppressed", "reason": reason}
        return verdict

    def _recipient(self, row: Any, known: Any) -> str | None:
        if row.audience == "customer":
            return plain_email(known.email)
        return self._addresses.of_staff(row.audience, row.transport, known.destination, known.member_email)

    def _language(self, row: Any, known: Any) -> str:
        if row.audience != "customer":
            return self._settings.default_language
        understood = None if known.understood_language == "und" else known.understood_language
        return known.language or understood or row.language or self._settings.default_language

    def _suppressed(
        self,
        row: Any,
        known: Any,
        recipient: str | None,
        governor: "_Governor",
        disabled: dict[tuple[str, str], str],
    ) -> str | None:
        if row.audience == "customer":
            if recipient is None:
                return "no e-mail address of the customer is known"
            return governor.refusal(row, recipient)
        if recipient is None:
            way = f"/v1/destinations/{row.audience}/{row.transport}"
            return f"no {row.transport} address for the {row.audience} is known; PUT {way}"
        if (why := disabled.get((row.workspace, recipient))) is not None:
            return f"the endpoint is disabled: {why}"
        return None


class _Governor:
    """The budget of contacts per person, over one claim: rows of one batch see each other."""

    def __init__(self, people: dict[tuple[str, str], Any], limit: int, period_seconds: float) -> None:
        self._people = people
        self._limit = limit
        self._days = period_seconds / domain.DAY_SECONDS
        self._taken: dict[tuple[str, str], int] = {}

    def unsubscribed(self, workspace: str, email: str | None) -> str | None:
        person = self._people.get((workspace, email or ""))
        return None if person is None else person.unsubscribed

    def refusal(self, row: Any, email: str) -> str | None:
        """Why this person gets no more mail now, or None; then the contact is counted."""
        if reason := self.unsubscribed(row.workspace, email):
            return f"unsubscribed: {reason}"
        if row.contacted_at is not None:
            return None  # this very message was counted at its first attempt
        key = (row.workspace, email)
        used = self._people[key].contacts + self._taken.get(key, 0)
        if used >= self._limit:
            return f"contact governor: {used} of {self._limit} messages in {self._days:g} days"
        self._taken[key] = self._taken.get(key, 0) + 1
        return None


def _cancelled(row: Any, known: Any, unsubscribed: str | None) -> str | None:
    """Why there is no more reason to send, or None."""
    if row.audience == "customer" and known.removed:
        return "the feedback was taken back"
    if row.audience == "customer" and known.spam:
        return "the feedback is spam"
    tests = row.conditions
    return domain.blocker(_conditions(tests["when"]), _conditions(tests["unless"]), _facts_of(row, known, unsubscribed))


def _conditions(texts: Sequence[str]) -> list[domain.Condition]:
    return [domain.parse_condition(text) for text in texts]


def _facts_of(row: Any, known: Any, unsubscribed: str | None) -> dict[str, object]:
    """Facts and fields by the names that conditions use; what is known now wins over what started the play."""
    now = {
        "kind": known.kind,
        "touchpoint": known.touchpoint,
        "department": known.department or known.understood_department,
        "channel": known.channel,
        "product": known.product,
        "segment": known.segment,
        "survey": known.survey,
        "language": known.language or known.understood_language,
        "sentiment": known.sentiment,
        "urgency": known.urgency,
        "priority": known.priority,
        "team": known.team,
        "band": known.band or row.band,
    }
    return {
        **row.facts,
        **{name: value for name, value in now.items() if value is not None},
        "answered": known.first_response_at is not None or known.case_state in {"answered", "resolved"},
        "resolved": known.case_state == "resolved",
        "reopened": known.reopened and known.case_state != "resolved",
        "has_case": known.assignment_id is not None,
        "newer_feedback": bool(known.newer_feedback),
        "recovered": bool(known.recovered),
        "no_email": plain_email(known.email) is None,
        "unsubscribed": unsubscribed is not None,
    }
