"""SQL of stored feedback and its tags."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import desc, select

from services.routing.models import feedback, tag
from services.routing.repository.among import among
from shared.contracts.envelope import Event
from shared.contracts.feedback_received import FeedbackReceivedV1
from shared.contracts.feedback_routed import FeedbackRoutedV1
from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_STORE = """
insert into feedback
select * from jsonb_populate_recordset(cast(null as feedback), cast(:rows as jsonb))
on conflict (workspace, feedback_id) do update
set revision = excluded.revision, removed = excluded.removed, facts = excluded.facts, sensitive = excluded.sensitive
where feedback.revision < excluded.revision"""
_TAG = """
insert into tag
select * from jsonb_populate_recordset(cast(null as tag), cast(:rows as jsonb))
on conflict (workspace, feedback_id, revision) do nothing"""
_TAG_COLUMNS = {column.name for column in tag.columns} - {"workspace"}


async def revisions(uow: UnitOfWork, workspace: str, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Latest stored revision of each of `ids` that is known."""
    query = select(feedback.c.feedback_id, feedback.c.revision).where(
        feedback.c.workspace == workspace, among(feedback.c.feedback_id, ids)
    )
    return {row.feedback_id: row.revision for row in await uow.execute(query)}


async def store(uow: UnitOfWork, events: Sequence[Event[FeedbackReceivedV1]]) -> None:
    """Keep the latest revision of each (one event per feedback); of a removed one nothing that a person wrote."""
    rows = []
    for event in events:
        data = event.data
        facts = data.model_dump(mode="json", exclude={"sensitive"}, exclude_none=True)
        sensitive = {} if data.removed else data.sensitive.model_dump(mode="json", exclude_none=True)
        rows.append(
            {
                "workspace": event.workspace,
                "feedback_id": str(data.feedback_id),
                "revision": data.revision,
                "removed": data.removed,
                "facts": facts,
                "sensitive": sensitive,
            }
        )
    await uow.execute(_STORE, {"rows": json.dumps(rows)})


async def store_tags(uow: UnitOfWork, workspace: str, routed: Sequence[FeedbackRoutedV1]) -> None:
    """Keep the tags of each revision."""
    if not routed:
        return
    rows = [{"workspace": workspace, **data.model_dump(mode="json", include=_TAG_COLUMNS)} for data in routed]
    await uow.execute(_TAG, {"rows": json.dumps(rows)})


async def facts(reader: Reader, workspace: str, feedback_id: UUID) -> Any:
    """The stored feedback (`facts`, `sensitive`, `revision`, `removed`), or None."""
    return await reader.first(
        feedback.select().where(feedback.c.workspace == workspace, feedback.c.feedback_id == feedback_id)
    )


async def tags(reader: Reader, workspace: str, feedback_id: UUID) -> Sequence[Any]:
    """Tags of every revision, newest first."""
    query = tag.select().where(tag.c.workspace == workspace, tag.c.feedback_id == feedback_id)
    return await reader.all(query.order_by(desc(tag.c.revision)))


async def several(reader: Reader, workspace: str, ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Stored feedback by id."""
    if not ids:
        return {}
    query = feedback.select().where(feedback.c.workspace == workspace, among(feedback.c.feedback_id, ids))
    return {row.feedback_id: row for row in await reader.all(query)}
