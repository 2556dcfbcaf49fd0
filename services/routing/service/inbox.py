"""Reading: lists, one assignment with all that belongs to it, the tags of a feedback."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.routing.domain.assignment import Assignment
from services.routing.repository import assignments
from services.routing.repository import feedback as stored_feedback
from services.routing.repository.assignments import Cursor, Filter
from shared.core.clock import rfc3339
from shared.core.errors import Fault, InvalidInput, NotFound
from shared.db.database import Database


@dataclass(frozen=True, slots=True)
class Case:
    """One assignment with its history, the feedback it answers, and the feedback's tags."""

    assignment: Assignment
    history: Sequence[Any]
    feedback: Any
    tags: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Assignments, feedback id → stored feedback, and where the next page begins."""

    items: list[Assignment]
    feedback: dict[UUID, Any]
    next: str | None
    now: datetime


class Inbox:
    """Use cases that change nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, workspace: str, wanted: Filter, cursor: str | None, limit: int) -> Page:
        """One page. Raises InvalidInput for a cursor that is not ours."""
        async with self._database.reader(workspace) as reader:
            found, following = await assignments.page(reader, workspace, wanted, _parse(cursor), limit)
            texts = await stored_feedback.several(reader, workspace, [row.feedback_id for row in found])
            now: datetime = await reader.scalar("select clock_timestamp()")
        return Page(found, texts, None if following is None else _spell(following), now)

    async def case(self, workspace: str, identifier: UUID) -> tuple[Case, datetime]:
        """Everything about one. Raises NotFound."""
        async with self._database.reader(workspace) as reader:
            found = await assignments.show(reader, workspace, identifier)
            if found is None:
                raise NotFound("no such assignment")
            history = await assignments.history(reader, workspace, identifier)
            feedback = await stored_feedback.facts(reader, workspace, found.feedback_id)
            tags = await stored_feedback.tags(reader, workspace, found.feedback_id)
            now: datetime = await reader.scalar("select clock_timestamp()")
        return Case(found, history, feedback, tags), now

    async def tags(self, workspace: str, feedback_id: UUID) -> Sequence[Any]:
        """Tags of every revision, newest first. Raises NotFound."""
        async with self._database.reader(workspace) as reader:
            found = await stored_feedback.tags(reader, workspace, feedback_id)
        if not found:
            raise NotFound("no tags for such a feedback")
        return found


def _spell(cursor: Cursor) -> str:
    key, opened_at, identifier = cursor
    text = json.dumps([rfc3339(key), rfc3339(opened_at), str(identifier)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        key, opened_at, identifier = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        moments = datetime.fromisoformat(key), datetime.fromisoformat(opened_at)
        if None in (moment.tzinfo for moment in moments):
            raise ValueError("a time without a zone")
        return *moments, UUID(identifier)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise InvalidInput(
            "the cursor is not one of ours; begin without it", faults=[Fault("cursor", "not a cursor of this list")]
        ) from None
