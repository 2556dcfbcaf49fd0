"""Signatures over raw webhook bodies, as data: digest, encoding, prefix, signed parts, time tolerance.

Verification is constant in time, tries every active secret without leaving early, and answers False to whatever is
malformed: it never raises (security.md 4).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# More signatures than any vendor sends; a header with thousands must not buy CPU time.
_MAX_SIGNATURES = 10


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one vendor signs. `signed` is a template over {body}, {timestamp} and {id}, joined as bytes.

    `separator` splits a header that holds several signatures; `tolerance_seconds` refuses stale signed timestamps.
    """

    header: str
    digest: Literal["sha1", "sha256"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    signed: tuple[str, ...] = ("{body}",)
    timestamp_header: str | None = None
    id_header: str | None = None
    separator: str | None = None
    tolerance_seconds: int | None = None
    key_form: Literal["text", "whsec"] = "text"


@dataclass(frozen=True, slots=True)
class Signed:
    """What arrived: raw bytes, and headers with lower-case names."""

    body: bytes
    headers: Mapping[str, str]


def verify(scheme: Scheme, message: Signed, secrets: Sequence[str], *, now: float) -> bool:
    """True when any of `secrets` made one of the signatures. `now` is Unix seconds, for the tolerance."""
    given = _candidates(scheme, message.headers.get(scheme.header.lower(), ""))
    if not given or not secrets or not _fresh(scheme, message, now):
        return False
    good = False
    for secret in secrets:
        expected = _digest(scheme, message, secret)
        for candidate in given:
            good |= expected is not None and hmac.compare_digest(expected, candidate)
    return good


def sign(scheme: Scheme, message: Signed, secret: str) -> str:
    """The value of the scheme's header for `message`; for tests, the demo, `sources test` and our own webhooks."""
    digest = _digest(scheme, message, secret)
    if digest is None:
        raise ValueError("the secret is not in the form that this scheme needs")
    text = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
    return scheme.prefix + text


def _candidates(scheme: Scheme, header: str) -> list[bytes]:
    values = header.split(scheme.separator, _MAX_SIGNATURES)[:_MAX_SIGNATURES] if scheme.separator else [header]
    decoded = (_decode(scheme, value.strip()) for value in values)
    return [value for value in decoded if value is not None]


def _decode(scheme: Scheme, value: str) -> bytes | None:
    if not value.startswith(scheme.prefix):
        return None
    try:
        text = value[len(scheme.prefix) :].encode("ascii")
        return binascii.unhexlify(text) if scheme.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


def _fresh(scheme: Scheme, message: Signed, now: float) -> bool:
    if scheme.tolerance_seconds is None:
        return True
    try:
        stamp = int(message.headers.get((scheme.timestamp_header or "").lower(), ""))
    except ValueError:
        return False
    return abs(now - stamp) <= scheme.tolerance_seconds


def _digest(scheme: Scheme, message: Signed, secret: str) -> bytes | None:
    try:
        key = _key(scheme, secret)
    except (ValueError, binascii.Error):
        return None
    mac = hmac.new(key, digestmod=hashlib.sha1 if scheme.digest == "sha1" else hashlib.sha256)
    for part in scheme.signed:
        if part == "{body}":
            mac.update(message.body)
        elif part == "{timestamp}":
            mac.update(message.headers.get((scheme.timestamp_header or "").lower(), "").encode())
        elif part == "{id}":
            mac.update(message.headers.get((scheme.id_header or "").lower(), "").encode())
        else:
            mac.update(part.encode())
    return mac.digest()


def _key(scheme: Scheme, secret: str) -> bytes:
    if scheme.key_form == "text":
        return secret.encode()
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
