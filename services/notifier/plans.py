"""Which plays are in force, and planning the steps of those that an occasion starts."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from services.notifier import changes, playbook
from services.notifier.addresses import Addresses
from services.notifier.catalogue import Catalogue
from services.notifier.domain import Occasion, Play, Playbook, Step, followup_id
from services.notifier.repository import choices, followups
from shared.core.errors import InvalidInput
from shared.core.settings import SettingsError
from shared.db.unit_of_work import UnitOfWork
from shared.runtime.patience import pause
from shared.telemetry.logging import get_logger

log = get_logger(__name__)
_LOOK_SECONDS = 2.0
_CACHE_LIMIT = 1_000


class PlayShelf:
    """The plays in force per workspace: its own newest file, else PLAYS_FILE, else the shipped ones.

    A component: it looks at PLAYS_FILE every two seconds. A file that is refused is logged with line and reason, and
    the plays read before stay in force. Raises SettingsError when the file is bad at the start.
    """

    name = "notifier-plays"

    def __init__(self, catalogue: Catalogue, file: Path | None) -> None:
        self._catalogue = catalogue
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._read: dict[tuple[str, int], Playbook] = {}
        self._stopping = asyncio.Event()
        self.content, self.default = self._from(playbook.DEFAULT_FILE, "default")
        if file is not None:
            try:
                self._seen = _stamp(file)
                self.content, self.default = self._from(file, "file")
            except (OSError, UnicodeError, InvalidInput) as error:
                detail = error.detail if isinstance(error, InvalidInput) else "cannot be read as UTF-8 text"
                raise SettingsError(f"PLAYS_FILE: {file.name}: {detail}") from None

    def _from(self, file: Path, kind: str) -> tuple[str, Playbook]:
        content = file.read_text(encoding="utf-8")
        version = kind if kind == "default" else f"file-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
        return content, playbook.parse(content, self._catalogue, version)

    def reload(self) -> bool:
        """Read PLAYS_FILE again if it changed; False when there was nothing new, or it was refused."""
        if self._file is None:
            return False
        try:
            stamp = _stamp(self._file)
            if stamp == self._seen:
                return False
            self._seen = stamp
            self.content, self.default = self._from(self._file, "file")
        except InvalidInput as error:
            faults = [f"{fault.path}: {fault.reason}" for fault in error.faults]
            log.error("plays_file_refused", file=self._file.name, faults=faults, in_force=self.default.version)
            return False
        except (OSError, UnicodeError) as error:
            log.error("plays_file_unreadable", file=self._file.name, error=type(error).__name__)
            return False
        log.info("plays_file_read", file=self._file.name, version=self.default.version)
        return True

    async def run(self) -> None:
        """Watch the file until `stop`."""
        while not self._stopping.is_set():
            await pause(_LOOK_SECONDS, self._stopping)
            await asyncio.to_thread(self.reload)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def check(self, content: str, version: str) -> Playbook:
        """Read a file that somebody wants to put in force. Raises InvalidInput with lines and reasons."""
        return playbook.parse(content, self._catalogue, version)

    def of(self, workspace: str, row: Any | None) -> Playbook:
        """The plays of a workspace, whose newest file is `row` (or None)."""
        if row is None:
            return self.default
        key = (workspace, row.version)
        if key not in self._read:
            if len(self._read) >= _CACHE_LIMIT:
                self._read.clear()
            try:
                self._read[key] = self.check(row.content, str(row.version))
            except InvalidInput as error:
                # It was good when it was put: a template is gone since. No plays are better than wrong ones.
                log.error("plays_unusable", workspace=workspace, version=row.version, error=error.detail)
                self._read[key] = Playbook(str(row.version), ())
        return self._read[key]


class Planner:
    """Turns occasions into planned follow-ups."""

    def __init__(self, shelf: PlayShelf, addresses: Addresses, *, delay_factor: float, default_language: str) -> None:
        self._shelf = shelf
        self._addresses = addresses
        self._delay_factor = delay_factor
        self._default_language = default_language

    async def plan(self, occasions: Sequence[Occasion], uow: UnitOfWork) -> None:
        """Plan every step of every play that the occasions start; a repeat plans nothing new."""
        if not occasions:
            return
        workspaces = sorted({occasion.workspace for occasion in occasions})
        files = await choices.newest_plays(uow, workspaces)
        destinations = await choices.destinations(uow, workspaces)
        now = await uow.now()
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for occasion in occasions:
            book = self._shelf.of(occasion.workspace, files.get(occasion.workspace))
            for play in book.started_by(occasion.trigger, occasion.facts):
                if now - occasion.happened_at > timedelta(seconds=play.max_age_seconds):
                    continue
                for step in play.steps:
                    row = self._row(occasion, book, play, step, destinations)
                    rows.setdefault((row["workspace"], row["id"]), row)
        planned = await followups.insert_planned(uow, list(rows.values()))
        changes.publish(uow, planned)
        if planned:
            await followups.wake_delivery(uow)

    def _row(self, occasion: Occasion, book: Playbook, play: Play, step: Step, destinations: Any) -> dict[str, Any]:
        transport, recipient = self._addresses.choose(
            occasion.workspace, step.audience, step.transports, destinations, member_email=occasion.member_email
        )
        return {
            "workspace": occasion.workspace,
            "id": str(followup_id(occasion, play.id, step.id)),
            "play": play.id,
            "play_version": book.version,
            "step": step.id,
            "audience": step.audience,
            "transport": transport,
            "template": step.template,
            "language": occasion.language or self._default_language,
            "band": occasion.band,
            "feedback_id": str(occasion.feedback_id),
            "assignment_id": _text(occasion.assignment_id),
            "customer_id": _text(occasion.customer_id),
            "correlation_id": str(occasion.correlation_id),
            "causation_id": str(occasion.event_id),
            "traceparent": occasion.traceparent,
            "conditions": {"when": [str(test) for test in step.when], "unless": [str(test) for test in step.unless]},
            "facts": dict(occasion.facts),
            "recipient": recipient,
            "endpoint": self._addresses.endpoint(occasion.workspace, transport, recipient),
            "after_seconds": step.after_seconds * self._delay_factor,
        }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size
