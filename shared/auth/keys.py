"""API keys: `clk_<id>_<secret>`. The id finds the key, the secret (256 random bits) proves it; only a hash is stored.

A plain SHA-256 is right here: the secret is random, so there is nothing that a slow hash would protect.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

_KEY = re.compile(r"clk_([a-z0-9]{12})_([A-Za-z0-9]{43})", re.ASCII)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Role(StrEnum):
    """What a key may do. `admin` may do everything in its workspace."""

    CHANNEL = "channel"
    """Post feedback, and nothing else: for frontline systems."""
    AGENT = "agent"
    """Work on assignments."""
    MANAGER = "manager"
    """Read scores, follow-ups and assignments; change teams and plays."""
    OPERATOR = "operator"
    """Sources, imports, dead letters, health."""
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A new key. `text` is shown once and never stored; `secret_hash` is."""

    id: str
    text: str
    secret_hash: str

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the workspace comes from here, never from a payload."""

    workspace: str
    key_id: str
    name: str
    roles: frozenset[Role]

    def may(self, *roles: Role) -> bool:
        """True with any of `roles`, or as admin."""
        return Role.ADMIN in self.roles or not self.roles.isdisjoint(roles)


def new_key() -> ApiKey:
    """Make a key from the system's random source."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(43))
    return ApiKey(id=key_id, text=f"clk_{key_id}_{secret}", secret_hash=_hash(secret))


def parse_key(text: str) -> tuple[str, str] | None:
    """(id, secret) of a key in our form, else None."""
    match = _KEY.fullmatch(text)
    return None if match is None else (match[1], match[2])


def matches(secret: str, secret_hash: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(_hash(secret), secret_hash)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
