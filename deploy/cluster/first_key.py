"""An admin's key for who starts a cluster: made at the first start, the same afterwards."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from services.node.first_key import FIRST_KEY, make_key
from shared.auth.keys import Role
from shared.bus import codec
from shared.db.database import Database
from shared.db.platform import ApiKeys


def live_key(database_url: str, workspace: str, known: str | None) -> str:
    """`known` while the database has it, else a new one. Works in a thread whose caller has an event loop, too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _live_key(database_url, workspace, known)).result()


async def _live_key(database_url: str, workspace: str, known: str | None) -> str:
    database = Database(database_url, "platform", encode=codec.encode, pool_size=1)
    try:
        keys = ApiKeys(database)
        live = {key.id for key in await keys.list(workspace) if key.revoked_at is None}
        if known and known.split("_")[1] in live:
            return known
        return await make_key(keys, workspace, FIRST_KEY, (Role.ADMIN,))
    finally:
        await database.stop()
