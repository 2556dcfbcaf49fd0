"""What people decide: play files, addresses, who wants no more mail; and the installation's own key."""

import os
from collections.abc import Sequence
from typing import Any

from shared.db.database import Reader
from shared.db.unit_of_work import UnitOfWork

_NEWEST_PLAYS = """
select distinct on (workspace) workspace, version, content, created_at, created_by from play_file
where workspace = any(cast(:workspaces as text[])) order by workspace, version desc"""


async def newest_plays(work: UnitOfWork | Reader, workspaces: Sequence[str]) -> dict[str, Any]:
    """Workspace → its newest play file; those that never wrote one are absent."""
    params = {"workspaces": list(workspaces)}
    if isinstance(work, Reader):
        rows = await work.all(_NEWEST_PLAYS, params)
    else:
        rows = (await work.execute(_NEWEST_PLAYS, params)).all()
    return {row.workspace: row for row in rows}


async def add_plays(uow: UnitOfWork, workspace: str, content: str, created_by: str) -> int:
    """Keep a new version; its number."""
    await uow.execute("select pg_advisory_xact_lock(hashtext(:name))", {"name": f"plays {workspace}"})
    result = await uow.execute(
        "insert into play_file (workspace, version, content, created_by) "
        "select :workspace, coalesce(max(version), 0) + 1, :content, :created_by from play_file "
        "where workspace = :workspace returning version",
        {"workspace": workspace, "content": content, "created_by": created_by},
    )
    version: int = result.scalar_one()
    return version


async def destinations(work: UnitOfWork | Reader, workspaces: Sequence[str]) -> dict[tuple[str, str, str], Any]:
    """(workspace, audience, transport) → row."""
    query = "select * from destination where workspace = any(cast(:workspaces as text[])) order by audience, transport"
    params = {"workspaces": list(workspaces)}
    if isinstance(work, Reader):
        rows = await work.all(query, params)
    else:
        rows = (await work.execute(query, params)).all()
    return {(row.workspace, row.audience, row.transport): row for row in rows}


async def set_destination(
    uow: UnitOfWork, workspace: str, audience: str, transport: str, address: str, *, rotate: bool
) -> Any:
    """Set an address; `rotate` makes a new secret. The row."""
    result = await uow.execute(
        "insert into destination (workspace, audience, transport, address) "
        "values (:workspace, :audience, :transport, :address) "
        "on conflict (workspace, audience, transport) do update set address = excluded.address, "
        "secret_version = destination.secret_version + :step, changed_at = clock_timestamp() returning *",
        {
            "workspace": workspace,
            "audience": audience,
            "transport": transport,
            "address": address,
            "step": int(rotate),
        },
    )
    await uow.execute(
        "delete from endpoint_health where workspace = :workspace and address = :address",
        {"workspace": workspace, "address": address},
    )
    return result.one()


async def remove_destination(uow: UnitOfWork, workspace: str, audience: str, transport: str) -> bool:
    """Forget an address; False where there was none."""
    result = await uow.execute(
        "delete from destination where workspace = :workspace and audience = :audience and transport = :transport",
        {"workspace": workspace, "audience": audience, "transport": transport},
    )
    return result.rowcount > 0


async def disabled(uow: UnitOfWork, workspaces: Sequence[str]) -> dict[tuple[str, str], str]:
    """(workspace, address) → why nothing is sent there any more."""
    result = await uow.execute(
        "select workspace, address, reason from endpoint_health "
        "where disabled_at is not null and workspace = any(cast(:workspaces as text[]))",
        {"workspaces": list(workspaces)},
    )
    return {(row.workspace, row.address): row.reason or "" for row in result}


async def note_health(
    uow: UnitOfWork, workspace: str, address: str, *, ok: bool, gone: str | None, failing_limit_seconds: float
) -> bool:
    """Keep since when an address fails; True when this failure was the one that disabled it."""
    if ok:
        await uow.execute(
            "delete from endpoint_health where workspace = :workspace and address = :address",
            {"workspace": workspace, "address": address},
        )
        return False
    result = await uow.execute(
        "insert into endpoint_health as h (workspace, address, failing_since, disabled_at, reason) "
        "values (:workspace, :address, clock_timestamp(), "
        "case when cast(:gone as text) is not null then clock_timestamp() end, :gone) "
        "on conflict (workspace, address) do update set "
        "failing_since = coalesce(h.failing_since, excluded.failing_since), "
        "disabled_at = coalesce(h.disabled_at, excluded.disabled_at, "
        "case when h.failing_since < clock_timestamp() - make_interval(secs => :limit) then clock_timestamp() end), "
        "reason = coalesce(h.reason, excluded.reason, "
        "case when h.failing_since < clock_timestamp() - make_interval(secs => :limit) "
        "then 'it has failed for too long' end) "
        "returning disabled_at >= transaction_timestamp() as now_disabled",
        {"workspace": workspace, "address": address, "gone": gone, "limit": failing_limit_seconds},
    )
    return bool(result.scalar_one())


async def suppress(uow: UnitOfWork, workspace: str, email: str, reason: str) -> bool:
    """Write nothing to this address any more; False if that was so already."""
    result = await uow.execute(
        "insert into suppression (workspace, email, reason) values (:workspace, :email, :reason) "
        "on conflict do nothing",
        {"workspace": workspace, "email": email, "reason": reason},
    )
    return result.rowcount > 0


async def allow_again(uow: UnitOfWork, workspace: str, email: str) -> bool:
    """Take an address off the list; False if it was not on it."""
    result = await uow.execute(
        "delete from suppression where workspace = :workspace and email = :email",
        {"workspace": workspace, "email": email},
    )
    return result.rowcount > 0


async def suppressions(reader: Reader, limit: int) -> Sequence[Any]:
    """The newest entries of the reader's workspace."""
    return await reader.all("select * from suppression order by created_at desc limit :limit", {"limit": limit})


async def installation_key(uow: UnitOfWork) -> bytes:
    """The key of this installation, made at the first start."""
    await uow.execute(
        "insert into installation_key (id, secret) values (1, :secret) on conflict do nothing",
        {"secret": os.urandom(32)},
    )
    secret: bytes = (await uow.execute("select secret from installation_key where id = 1")).scalar_one()
    return bytes(secret)
