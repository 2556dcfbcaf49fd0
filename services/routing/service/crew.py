"""Who is there: the team document in force, presence, and what follows when they change."""

from datetime import datetime
from pathlib import Path

from services.routing.domain.roster import Roster, Sla
from services.routing.domain.selection import Desk, Presence
from services.routing.repository import assignments, crew
from services.routing.repository.crew import StoredDocument
from services.routing.service.changes import Ledger
from services.routing.service.waiting import Rules, drain, rescue
from services.routing.team_document import TeamDocument, stored
from shared.core.errors import Conflict, NotFound
from shared.db.database import Database
from shared.db.unit_of_work import UnitOfWork


class Rosters:
    """Rosters by workspace, parsed once per version of the document."""

    def __init__(self, default_sla: Sla) -> None:
        self._default_sla = default_sla
        self._known: dict[str, Roster] = {}

    async def current(self, uow: UnitOfWork, workspace: str) -> Roster:
        """The roster in force; without a document an empty one, so that everything waits in the queue."""
        version = await crew.version(uow, workspace)
        known = self._known.get(workspace)
        if known is not None and known.version == version:
            return known
        document = await crew.document(uow, workspace)
        if document is None:
            roster = Roster(sla=self._default_sla)
        else:
            roster = stored(document.document).roster(document.version, self._default_sla)
        self._known[workspace] = roster
        return roster


class Crew:
    """Use cases of teams and members."""

    def __init__(self, database: Database, rosters: Rosters, rules: Rules) -> None:
        self._database = database
        self._rosters = rosters
        self._rules = rules

    async def document(self, workspace: str) -> StoredDocument:
        """The document in force. Raises NotFound."""
        async with self._database.reader(workspace) as reader:
            found = await crew.document(reader, workspace)
        if found is None:
            raise NotFound("this workspace has no teams yet; send a team document with PUT /v1/teams")
        return found

    async def put(self, workspace: str, document: TeamDocument, *, by: str, version: int | None = None) -> int:
        """Put a document in force and move work accordingly; returns its version. Raises Conflict when `version`
        is not the one in force (0: there is none yet)."""
        async with self._database.unit_of_work(workspace) as uow:
            await crew.lock(uow, workspace)
            current = await crew.version(uow, workspace)
            if version is not None and version != current:
                raise Conflict(
                    f"version {current} is in force, not {version}; read it, redo your change, send it again"
                )
            return await self._apply(uow, workspace, document, by=by, file_hash=None)

    async def put_file(self, workspace: str, document: TeamDocument, file_hash: str, file: Path) -> int | None:
        """Put the document of a file in force, unless that very content was before (then None)."""
        async with self._database.unit_of_work() as uow:
            await crew.lock(uow, workspace)
            current = await crew.document(uow, workspace)
            if current is not None and current.file_hash == file_hash:
                return None
            return await self._apply(uow, workspace, document, by=f"file {file.name}"[:80], file_hash=file_hash)

    async def _apply(
        self, uow: UnitOfWork, workspace: str, document: TeamDocument, *, by: str, file_hash: str | None
    ) -> int:
        body = document.model_dump(mode="json", exclude_none=True)
        version = await crew.store_document(uow, workspace, body, changed_by=by, file_hash=file_hash)
        await self._settle(uow, workspace)
        return version

    async def members(self, workspace: str) -> tuple[TeamDocument, dict[str, int], dict[str, Presence], datetime]:
        """(document, member → unanswered assignments, member → presence, now)."""
        async with self._database.reader(workspace) as reader:
            found = await crew.document(reader, workspace)
            held, presence = await crew.loads(reader, workspace)
            now: datetime = await reader.scalar("select clock_timestamp()")
        if found is None:
            raise NotFound("this workspace has no teams yet; send a team document with PUT /v1/teams")
        return stored(found.document), held, presence, now

    async def roster(self, workspace: str) -> Roster:
        """The roster in force."""
        async with self._database.unit_of_work(workspace) as uow:
            return await self._rosters.current(uow, workspace)

    async def set_presence(self, workspace: str, member_id: str, presence: Presence, *, hand_over_taken: bool) -> None:
        """A member goes away (their untaken work goes to others) or is back (the queue is drained). Raises NotFound."""
        async with self._database.unit_of_work(workspace) as uow:
            await crew.lock(uow, workspace)
            roster = await self._rosters.current(uow, workspace)
            if roster.member(member_id) is None:
                raise NotFound(f"no member is called {member_id}")
            await crew.set_presence(uow, workspace, member_id, presence)
            await self._settle(uow, workspace, also_taken_of=member_id if presence.away and hand_over_taken else None)

    async def tick(self) -> None:
        """Try every queue again: hours begin and end, absences end, waits grow long."""
        async with self._database.reader() as reader:
            workspaces = await assignments.workspaces_with_work(reader)
        for workspace in workspaces:
            async with self._database.unit_of_work() as uow:
                await crew.lock(uow, workspace)
                await self._settle(uow, workspace)

    async def _settle(self, uow: UnitOfWork, workspace: str, *, also_taken_of: str | None = None) -> Desk:
        ledger = Ledger(workspace, await self._rosters.current(uow, workspace))
        desk = await crew.desk(uow, workspace)
        await rescue(uow, ledger, desk, self._rules, also_taken_of=also_taken_of)
        await drain(uow, ledger, desk, self._rules)
        return desk
