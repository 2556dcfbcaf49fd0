"""API keys under load: what every route's door does when many come at once."""

import asyncio

from shared.auth import Role, new_key
from shared.bus import codec
from shared.db.database import Database
from shared.db.platform import ApiKeys
from shared.http.authentication import Authenticator


async def test_a_burst_with_one_key_is_one_query(database_url: str) -> None:
    platform = Database(database_url, "platform", encode=codec.encode, pool_size=1)
    keys = ApiKeys(platform)
    key = new_key()
    await keys.add(key_id=key.id, workspace="lale", name="till", roles=["channel"], secret_hash=key.secret_hash)
    authenticator = Authenticator(keys)
    async with platform.reader():  # the only connection is busy
        waiting = [asyncio.create_task(authenticator.authorize(key.text, Role.CHANNEL)) for _ in range(200)]
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
    principals = await asyncio.gather(*waiting[1:])
    assert {principal.key_id for principal in principals} == {key.id}
    await platform.stop()
