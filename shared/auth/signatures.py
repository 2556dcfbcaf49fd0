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
# Unix seconds have ten digits; an integer of thousands cannot even be compared with a float.
_MAX_STAMP_DIGITS = 15


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


STANDARD_WEBHOOKS = Scheme(
    header="webhook-signature",
    encoding="base64",
    prefix="v1,",
    signed=("{id}", ".", "{timestamp}", ".", "{body}"),
    timestamp_header="webhook-timestamp",
    id_header="webhook-id",
    separator=" ",
    tolerance_seconds=300,
    key_form="whsec",
)
"""https://www.standardwebhooks.com, version 1 (symmetric)."""


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
        expected = _encoded(scheme, _digest(scheme, message, secret))
        for candidate in given:
            good |= expected is not None and hmac.compare_digest(expected, candidate)
    return good


def sign(scheme: Scheme, message: Signed, secret: str) -> str:
    """The value of the scheme's header for `message`; for tests, the demo, `sources test` and our own webhooks."""
    encoded = _encoded(scheme, _digest(scheme, message, secret))
    if encoded is None:
        raise ValueError("the secret is not in the form that this scheme needs")
    return scheme.prefix + encoded.decode()


def _candidates(scheme: Scheme, header: str) -> list[bytes]:
    values = header.split(scheme.separator, _MAX_SIGNATURES)[:_MAX_SIGNATURES] if scheme.separator else [header]
    texts = (_text(scheme, value.strip()) for value in values)
    return [text for text in texts if text is not None]


def _text(scheme: Scheme, value: str) -> bytes | None:
    """The signature as it was written. It is compared as text, because base64 has several spellings of the same bytes
    and only one of them was sent by the vendor; hex counts in upper case too, as some senders write it."""
    if not value.startswith(scheme.prefix) or not value.isascii():
        return None
    text = value[len(scheme.prefix) :]
    return (text.lower() if scheme.encoding == "hex" else text).encode() or None


def _encoded(scheme: Scheme, digest: bytes | None) -> bytes | None:
    if digest is None:
        return None
    return digest.hex().encode() if scheme.encoding == "hex" else base64.b64encode(digest)


def _fresh(scheme: Scheme, message: Signed, now: float) -> bool:
    if scheme.tolerance_seconds is None:
        return True
    stamp = message.headers.get((scheme.timestamp_header or "").lower(), "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _MAX_STAMP_DIGITS):
        return False
    return abs(now - int(stamp)) <= scheme.tolerance_seconds


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
            mac.update(_header(message, scheme.timestamp_header))
        elif part == "{id}":
            mac.update(_header(message, scheme.id_header))
        else:
            mac.update(part.encode())
    return mac.digest()


def _header(message: Signed, name: str | None) -> bytes:
    return message.headers.get((name or "").lower(), "").encode("utf-8", "surrogatepass")


def _key(scheme: Scheme, secret: str) -> bytes:
    key = secret.encode() if scheme.key_form == "text" else _decoded_key(secret)
    if not key:
        raise ValueError("an empty key would let anybody sign")
    return key


def _decoded_key(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
