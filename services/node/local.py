"""The database of this machine for the node and the command line: DATABASE_URL, or the embedded server in DATA_DIR."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.core.settings import Settings
from shared.db.embedded import EmbeddedPostgres
from shared.db.migrate import upgrade


@asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """A migrated database for one command: the given one; or the running node's; or the embedded one, started for the
    length of the block. Raises EmbeddedPostgresError with one line that says what to do."""
    if settings.database_url:
        yield settings.database_url
        return
    server = EmbeddedPostgres(settings.data_dir)
    if await asyncio.to_thread(server.attach):
        yield await asyncio.to_thread(server.url)
        return
    await asyncio.to_thread(server.start)
    try:
        url = await asyncio.to_thread(server.url)
        await asyncio.to_thread(upgrade, url)
        yield url
    finally:
        await asyncio.to_thread(server.stop)
