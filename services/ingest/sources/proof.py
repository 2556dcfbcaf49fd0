"""How a delivery proves where it comes from, as data that a test can list: a signature, a repeated secret, or nothing
but an address that nobody can guess."""

import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from shared.auth.signatures import Ed25519, Scheme, Signed, sign, verify, verify_ed25519


@dataclass(frozen=True, slots=True)
class Bearer:
    """A secret that the sender repeats in a header, as such or after `Bearer `; or in a parameter of the address."""

    header: str = "authorization"
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Vendors that sign nothing: 256 random bits in the address are all there is, so it must be kept like a secret."""


Proof = Scheme | Ed25519 | Bearer | Address
Credential = Proof | tuple[Proof, ...]
"""Several: any of them does."""


def proven(credential: Credential, message: Signed, secrets: Sequence[str], *, now: float) -> bool:
    """True when the sender knows one of `secrets`. Constant in time, never raises."""
    if isinstance(credential, tuple):
        return sum(proven(one, message, secrets, now=now) for one in credential) > 0
    if isinstance(credential, Scheme):
        return verify(credential, message, secrets, now=now)
    if isinstance(credential, Ed25519):
        return verify_ed25519(credential, message, secrets, now=now)
    return isinstance(credential, Address) or _repeated(credential, message, secrets)


def _repeated(credential: Bearer, message: Signed, secrets: Sequence[str]) -> bool:
    presented = message.headers.get(credential.header.lower(), "")
    token = presented[7:] if presented[:7].lower() == "bearer " else presented
    if not token and credential.parameter:
        token = message.query.get(credential.parameter, "")
    given = token.strip().encode("utf-8", "surrogatepass")
    good = False
    for secret in secrets:
        good |= bool(secret) and hmac.compare_digest(given, secret.encode())
    return good


def with_proof(credential: Credential, message: Signed, secret: str) -> Signed:
    """The message as the vendor would send it now, for `sources test`, the demo and tests. What is given already of
    time and id stays. Raises ValueError for a secret in the wrong form, and where only the vendor can sign."""
    if isinstance(credential, tuple):
        credential = credential[0]
    if isinstance(credential, Address):
        return message
    if isinstance(credential, Bearer):
        return _with_headers(message, {credential.header.lower(): f"Bearer {secret}"})
    if isinstance(credential, Ed25519):
        raise ValueError("only the vendor has the key that signs")
    headers = dict(message.headers)
    now = str(int(time.time() * (1000 if credential.timestamp_unit == "milliseconds" else 1)))
    if credential.timestamp_header:
        headers.setdefault(credential.timestamp_header.lower(), now)
    if credential.timestamp_prefix is not None:
        headers.setdefault(credential.header.lower(), credential.timestamp_prefix + now)
    if credential.id_header:
        headers.setdefault(credential.id_header.lower(), f"msg_{now}")
    message = replace(message, headers=headers)
    return _with_headers(message, {credential.header.lower(): sign(credential, message, secret)})


def _with_headers(message: Signed, more: dict[str, str]) -> Signed:
    return replace(message, headers={**message.headers, **more})
