"""SQL of team documents, presence, load, and the lock that makes choosing exact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from services.routing.domain.selection import Desk, Presence
from services.routing.models import customer_last_agent, member_state, team_document
from services.routing.repository.among import among
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_LOCK = "select pg_advisory_xact_lock(hashtextextended('routing/' || :workspace, 0))"
_LOADS = """
select member_id, count(*) as held from assignment
where workspace = :workspace and state in ('assigned', 'taken') and member_id is not null
group by member_id"""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A team document as stored."""

    version: int
    document: dict[str, Any]
    file_hash: str | None
    changed_by: str
    changed_at: datetime


async def lock(uow: UnitOfWork, workspace: str) -> None:
    """Hold the workspace until the transaction ends: whoever chooses a member sees every earlier choice.

    Timers are cancelled before this, never after: a firing timer holds its row while it waits here.
    """
    await uow.execute(_LOCK, {"workspace": workspace})


async def document(source: UnitOfWork | Reader, workspace: str) -> StoredDocument | None:
    """The team document in force."""
    query = team_document.select().where(team_document.c.workspace == workspace)
    row = (await source.execute(query)).first() if isinstance(source, UnitOfWork) else await source.first(query)
    if row is None:
        return None
    return StoredDocument(row.version, row.document, row.file_hash, row.changed_by, row.changed_at)


async def version(uow: UnitOfWork, workspace: str) -> int:
    """Version of the team document; 0 without one."""
    query = select(team_document.c.version).where(team_document.c.workspace == workspace)
    found: int | None = (await uow.execute(query)).scalar()
    return found or 0


async def store_document(
    uow: UnitOfWork, workspace: str, body: Mapping[str, Any], *, changed_by: str, file_hash: str | None
) -> int:
    """Put a document in force; returns its version. `file_hash` None keeps the last one."""
    new = insert(team_document).values(
        workspace=workspace, version=1, document=dict(body), file_hash=file_hash, changed_by=changed_by
    )
    changes = {"version": team_document.c.version + 1, "document": new.excluded.document, "changed_by": changed_by}
    changes["changed_at"] = new.excluded.changed_at
    if file_hash is not None:
        changes["file_hash"] = file_hash
    statement = new.on_conflict_do_update(index_elements=["workspace"], set_=changes)
    stored: int = (await uow.execute(statement.returning(team_document.c.version))).scalar_one()
    return stored


async def desk(uow: UnitOfWork, workspace: str) -> Desk:
    """How busy everybody is now, by the database clock."""
    found = Desk(await uow.now())
    for row in await uow.execute(_LOADS, {"workspace": workspace}):
        found.open[row.member_id] = row.held
    for row in await uow.execute(member_state.select().where(member_state.c.workspace == workspace)):
        found.presence[row.member_id] = Presence(row.away, row.away_until)
        if row.last_assigned_at is not None:
            found.last_assigned[row.member_id] = row.last_assigned_at
    return found


async def set_presence(uow: UnitOfWork, workspace: str, member_id: str, presence: Presence) -> None:
    """Note that a member is away or back."""
    row = {"away": presence.away, "away_until": presence.until}
    statement = insert(member_state).values(workspace=workspace, member_id=member_id, **row)
    await uow.execute(statement.on_conflict_do_update(index_elements=["workspace", "member_id"], set_=row))


async def note_assigned(uow: UnitOfWork, workspace: str, members: Sequence[str], at: datetime) -> None:
    """These members got new work."""
    if not members:
        return
    statement = insert(member_state).values(workspace=workspace, member_id=bindparam("member"), last_assigned_at=at)
    await uow.execute(
        statement.on_conflict_do_update(
            index_elements=["workspace", "member_id"], set_={"last_assigned_at": statement.excluded.last_assigned_at}
        ),
        [{"member": member} for member in sorted(set(members))],
    )


async def last_agents(uow: UnitOfWork, workspace: str, customers: Sequence[UUID]) -> dict[UUID, tuple[str, datetime]]:
    """Customer → their last agent and when that was."""
    if not customers:
        return {}
    query = customer_last_agent.select().where(
        customer_last_agent.c.workspace == workspace, among(customer_last_agent.c.customer_id, customers)
    )
    return {row.customer_id: (row.member_id, row.at) for row in await uow.execute(query)}


async def note_agents(uow: UnitOfWork, workspace: str, agents: Mapping[UUID, str], at: datetime) -> None:
    """Customers → who works for them now."""
    if not agents:
        return
    statement = insert(customer_last_agent).values(
        workspace=workspace, customer_id=bindparam("customer"), member_id=bindparam("member"), at=at
    )
    await uow.execute(
        statement.on_conflict_do_update(
            index_elements=["workspace", "customer_id"],
            set_={"member_id": statement.excluded.member_id, "at": statement.excluded.at},
        ),
        [{"customer": customer, "member": member} for customer, member in sorted(agents.items())],
    )


async def loads(reader: Reader, workspace: str) -> tuple[dict[str, int], dict[str, Presence]]:
    """(member → unanswered assignments, member → presence), for showing."""
    held = {row.member_id: row.held for row in await reader.all(_LOADS, {"workspace": workspace})}
    rows = await reader.all(member_state.select().where(member_state.c.workspace == workspace))
    return held, {row.member_id: Presence(row.away, row.away_until) for row in rows}
