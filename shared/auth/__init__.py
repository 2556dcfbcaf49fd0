"""Who is asking: API keys with roles, and signatures of webhooks. Pure: shared/db stores keys."""

from shared.auth.keys import ApiKey, Principal, Role, matches, new_key, parse_key
from shared.auth.signatures import STANDARD_WEBHOOKS, Scheme, Signed, sign, verify

__all__ = [
    "STANDARD_WEBHOOKS",
    "ApiKey",
    "Principal",
    "Role",
    "Scheme",
    "Signed",
    "matches",
    "new_key",
    "parse_key",
    "sign",
    "verify",
]
