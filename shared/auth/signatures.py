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
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# More signatures than any vendor sends; a header with thousands must not buy CPU time.
_MAX_SIGNATURES = 10
# Unix milliseconds have thirteen digits; an integer of thousands cannot even be compared with a float.
_MAX_STAMP_LENGTH = 40
_MAX_STAMP_DIGITS = 15
_BLOCK_BYTES = 64  # of SHA-1 and SHA-256


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one vendor signs. `signed` is a template over {body}, {timestamp}, {id}, {method} and {url}, joined as bytes.

    `separator` splits a header that holds several signatures; `timestamp_prefix` marks the one of its parts that is the
    time, where that has no header of its own. `tolerance_seconds` refuses stale signed timestamps (Unix seconds or
    milliseconds by `timestamp_unit`, or RFC 3339). `key_prefix` stands before the secret in the key.
    """

    header: str
    digest: Literal["sha1", "sha256"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    signed: tuple[str, ...] = ("{body}",)
    timestamp_header: str | None = None
    timestamp_prefix: str | None = None
    timestamp_unit: Literal["seconds", "milliseconds"] = "seconds"
    id_header: str | None = None
    separator: str | None = None
    tolerance_seconds: int | None = None
    key_form: Literal["text", "whsec"] = "text"
    key_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Ed25519:
    """A signature in hex over timestamp and body by the vendor's key: our "secret" is the public half of it, in hex."""

    header: str
    timestamp_header: str
    tolerance_seconds: int = 300


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


class Signed(msgspec.Struct, frozen=True, gc=False):
    """What arrived: raw bytes, headers with lower-case names, and how and where it was asked for (`url` as the sender
    wrote it, for the few who sign it)."""

    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"
    url: str = ""
    query: Mapping[str, str] = MappingProxyType({})


def verify(scheme: Scheme, message: Signed, secrets: Sequence[str], *, now: float) -> bool:
    """True when any of `secrets` made one of the signatures. `now` is Unix seconds, for the tolerance."""
    parts = _parts(scheme, message.headers.get(scheme.header.lower(), ""))
    given = [text for part in parts if (text := _text(scheme, part)) is not None]
    stamp = _stamp(scheme, message)
    if not given or not secrets or (scheme.tolerance_seconds is not None and not _fresh(scheme, stamp, now)):
        return False
    good = False
    for secret in secrets:
        expected = _signature(scheme, message, stamp, secret)
        if expected is not None:
            for candidate in given:
                good |= hmac.compare_digest(expected, candidate)
    return good


def verify_ed25519(scheme: Ed25519, message: Signed, keys: Sequence[str], *, now: float) -> bool:
    """True when any of `keys` (hex) verifies the signature and its timestamp is not stale."""
    stamp = message.headers.get(scheme.timestamp_header.lower(), "")
    moment = _moment(stamp, 1)
    if moment is None or abs(now - moment) > scheme.tolerance_seconds:
        return False
    good = False
    for key in keys:
        try:
            signature = bytes.fromhex(message.headers.get(scheme.header.lower(), ""))
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, stamp.encode() + message.body)
        except (ValueError, InvalidSignature):
            continue
        good = True
    return good


def sign(scheme: Scheme, message: Signed, secret: str) -> str:
    """The value of the scheme's header for `message`; for tests, the demo, `sources test` and our own webhooks. Where
    the time has no header of its own, it must stand in that header already."""
    stamp = _stamp(scheme, message)
    encoded = _signature(scheme, message, stamp, secret)
    if encoded is None:
        raise ValueError("the secret is not in the form that this scheme needs")
    before = "" if scheme.timestamp_prefix is None else f"{scheme.timestamp_prefix}{stamp}{scheme.separator}"
    return before + scheme.prefix + encoded


def _parts(scheme: Scheme, header: str) -> list[str]:
    if not scheme.separator:
        return [header.strip()]
    return [part.strip() for part in header.split(scheme.separator, _MAX_SIGNATURES)[:_MAX_SIGNATURES]]


def _text(scheme: Scheme, value: str) -> str | None:
    """The signature as it was written. It is compared as text, because base64 has several spellings of the same bytes
    and only one of them was sent by the vendor; hex counts in upper case too, as some senders write it."""
    if not value.startswith(scheme.prefix) or not value.isascii():
        return None
    text = value[len(scheme.prefix) :]
    return (text.lower() if scheme.encoding == "hex" else text) or None


def _stamp(scheme: Scheme, message: Signed) -> str:
    if scheme.timestamp_prefix is None:
        return message.headers.get((scheme.timestamp_header or "").lower(), "")
    found = _parts(scheme, message.headers.get(scheme.header.lower(), ""))
    prefix = scheme.timestamp_prefix
    return next((part.removeprefix(prefix) for part in found if part.startswith(prefix)), "")


def _fresh(scheme: Scheme, stamp: str, now: float) -> bool:
    moment = _moment(stamp, 1000 if scheme.timestamp_unit == "milliseconds" else 1)
    return moment is not None and abs(now - moment) <= (scheme.tolerance_seconds or 0)


def _moment(stamp: str, units_a_second: int) -> float | None:
    """Unix seconds of a stamp in digits, or in RFC 3339 with its zone."""
    if not stamp.isascii() or len(stamp) > _MAX_STAMP_LENGTH:
        return None
    if stamp.isdigit():
        return int(stamp) / units_a_second if len(stamp) <= _MAX_STAMP_DIGITS else None
    try:
        moment = datetime.fromisoformat(stamp)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _signature(scheme: Scheme, message: Signed, stamp: str, secret: str) -> str | None:
    keyed = _keyed(scheme.digest, scheme.key_form, scheme.key_prefix, secret)
    if keyed is None:
        return None
    inner, outer = keyed[0].copy(), keyed[1].copy()
    for part in scheme.signed:
        inner.update(message.body if part == "{body}" else _signed_text(scheme, message, stamp, part))
    outer.update(inner.digest())
    return outer.hexdigest() if scheme.encoding == "hex" else base64.b64encode(outer.digest()).decode()


def _signed_text(scheme: Scheme, message: Signed, stamp: str, part: str) -> bytes:
    if part == "{timestamp}":
        text = stamp
    elif part == "{id}":
        text = message.headers.get((scheme.id_header or "").lower(), "")
    elif part == "{method}":
        text = message.method
    else:
        text = message.url if part == "{url}" else part
    return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=4096)
def _keyed(digest: str, form: str, prefix: str, secret: str) -> tuple[Any, Any] | None:
    """The inner and the outer hash of HMAC (RFC 2104) with the key in them, to be copied: taking the key in costs as
    much as a short body, and a copy of `hmac.HMAC` as much again. None where the secret has no such form, or is empty
    and would let anybody sign."""
    try:
        key = (prefix + secret).encode() if form == "text" else _decoded_key(secret)
    except (ValueError, binascii.Error):
        return None
    if not secret or not key:
        return None
    hashed = hashlib.sha1 if digest == "sha1" else hashlib.sha256
    if len(key) > _BLOCK_BYTES:
        key = hashed(key).digest()
    key = key.ljust(_BLOCK_BYTES, b"\0")
    return hashed(key.translate(hmac.trans_36)), hashed(key.translate(hmac.trans_5C))


def _decoded_key(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
