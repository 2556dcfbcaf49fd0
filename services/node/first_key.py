"""The first start makes an admin key; it is shown once and stored hashed."""

from shared.auth.keys import Role, new_key
from shared.db.platform import ApiKeys

FIRST_KEY = "first"


async def ensure_first_key(keys: ApiKeys, workspace: str) -> str | None:
    """The text of a new admin key when `workspace` has no live key yet, else None."""
    if any(key.revoked_at is None for key in await keys.list(workspace)):
        return None
    return await make_key(keys, workspace, FIRST_KEY, (Role.ADMIN,))


async def make_key(keys: ApiKeys, workspace: str, name: str, roles: tuple[Role, ...]) -> str:
    """Store a new key and give its text, for the only time."""
    key = new_key()
    await keys.add(key_id=key.id, workspace=workspace, name=name, roles=roles, secret_hash=key.secret_hash)
    return key.text
