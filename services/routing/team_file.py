"""TEAMS_FILE: put in force at start and whenever its content changes. A bad one changes nothing."""

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from services.routing.service.crew import Crew
from services.routing.team_document import from_file
from shared.core.errors import InvalidInput
from shared.runtime.patience import through_outage
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the file: whose it is, and the version in force (None: it was in force already)."""

    workspace: str
    version: int | None


class TeamFile:
    """Watches the file. A component."""

    def __init__(self, crew: Crew, path: Path, poll_seconds: float) -> None:
        self.name = "team-file"
        self.path = path
        self._crew = crew
        self._poll_seconds = poll_seconds
        self._seen: str | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look again and again until `stop`; a bad content is logged once, with line and reason."""
        while not self._stopping.is_set():
            await through_outage(self._look, stopping=self._stopping)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._poll_seconds)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _look(self) -> None:
        try:
            content = await asyncio.to_thread(self._read)
            state = hashlib.sha256(content).hexdigest()
            if state != self._seen:
                await self._load(content, state)
        except InvalidInput as error:
            state = state_of(error)
            if state != self._seen:
                faults = [f"{fault.path}: {fault.reason}" for fault in error.faults]
                log.error("team_file_refused", file=self.path.name, reason=error.detail, faults=faults)
        self._seen = state

    async def reload(self, workspace: str | None = None) -> Loaded:
        """Read it now. Raises InvalidInput with line and reason, or when it is not the file of `workspace`."""
        content = await asyncio.to_thread(self._read)
        return await self._load(content, hashlib.sha256(content).hexdigest(), workspace)

    async def _load(self, content: bytes, digest: str, workspace: str | None = None) -> Loaded:
        try:
            owner, document = await asyncio.to_thread(from_file, content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise InvalidInput(f"{self.path.name} is not UTF-8") from None
        if workspace is not None and workspace != owner:
            raise InvalidInput("TEAMS_FILE is not this workspace's; send the document with PUT /v1/teams")
        version = await self._crew.put_file(owner, document, digest, self.path)
        if version is not None:
            log.info("team_file_in_force", file=self.path.name, workspace=owner, version=version)
        return Loaded(owner, version)

    def _read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"TEAMS_FILE {self.path.name} cannot be read: {error.strerror}") from None
        if len(content) > _MOST_BYTES:
            raise InvalidInput(f"{self.path.name} is over {_MOST_BYTES} bytes")
        return content


def state_of(error: InvalidInput) -> str:
    """What stands for a refused content, so that it is told once."""
    return f"refused: {error.detail}"
